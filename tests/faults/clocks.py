"""Clocks of our own processes that are wrong, or are set while they run, by a preloaded library of a few lines."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pdm.config import RoleName
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run
from tests.faults.roles import CONSUMERS

SOURCE = Path(__file__).with_name("wrong_clock.c")
HOUR_S = 3_600
PRELOAD, CLOCK = "LD_PRELOAD", "PDM_CLOCK"


def faults() -> Iterator[Fault]:
    needs = None if shutil.which("cc") else "a process with a wrong clock needs a C compiler, and there is no cc"
    for role in CONSUMERS:
        yield Fault(f"clock of {role} an hour ahead", ("38",), _wrong(role, HOUR_S), expected_s=50, needs=needs)
        yield Fault(f"clock of {role} an hour behind", ("38",), _wrong(role, -HOUR_S), expected_s=50, needs=needs)
        yield Fault(f"clock of {role} set back under load", ("39",), _set_back(role), expected_s=50, needs=needs)


def _wrong(role: RoleName, offset_s: int) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            _restart_by(rig, role, offset_s)
        time.sleep(8)
        with run.outage():
            _right(rig, role)

    return act


def _set_back(role: RoleName) -> Act:
    """An hour ahead at first, then right from one moment to the next, in a running process."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            _restart_by(rig, role, HOUR_S)
        time.sleep(4)
        _clock(rig, role).write_text("0\n")
        time.sleep(6)
        with run.outage():
            _right(rig, role)

    return act


def _restart_by(rig: Rig, role: RoleName, offset_s: int) -> None:
    library = rig.engines.stack.folder.logs / "wrong_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    _clock(rig, role).write_text(f"{offset_s}\n")
    rig.roles[role].restart(**{PRELOAD: str(library), CLOCK: str(_clock(rig, role))})
    rig.roles[role].wait_ready()


def _right(rig: Rig, role: RoleName) -> None:
    for name in (PRELOAD, CLOCK):
        rig.roles[role].environment.pop(name, None)
    rig.roles[role].restart()
    rig.roles[role].wait_ready()


def _clock(rig: Rig, role: RoleName) -> Path:
    return rig.engines.stack.folder.logs / f"{role}.clock"
