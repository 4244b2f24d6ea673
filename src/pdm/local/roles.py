"""The commands that run `pdm` itself: setup, and each role as a process of its own. Imports no role."""

import sys

from pdm.config import RoleName
from pdm.local.program import Place, Program


def role_program(place: Place, role: RoleName) -> Program:
    return Program(
        name=role,
        command=(*_python(place, role), "run", role),
        log=place.log(role),
        environment=place.environment,
    )


def setup_command(place: Place) -> tuple[str, ...]:
    return (*_python(place, "setup"), "setup")


def _python(place: Place, name: str) -> tuple[str, ...]:
    """-P: a file called pdm.py in the working folder must not be taken for us. -X carries the mark, nothing else."""
    return (sys.executable, "-P", "-X", place.life.mark_of(name), "-m", "pdm")
