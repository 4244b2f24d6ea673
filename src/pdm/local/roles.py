"""How a role of `pdm` is run as a process of its own. Imports no role."""

import sys

from pdm.config import RoleName
from pdm.local.program import Place, Program


def role_program(place: Place, role: RoleName) -> Program:
    # -P: a file called pdm.py in the working folder must not be taken for us. -X carries the mark, nothing else.
    python = (sys.executable, "-P", "-X", place.life.mark_of(role))
    return Program(
        name=role,
        command=(*python, "-m", "pdm", "run", role),
        log=place.log(role),
        # Its partitions are its own again at once after a crash, instead of after the session's ten seconds.
        environment={**place.environment, "PDM_KAFKA__INSTANCE_ID": "local"},
    )
