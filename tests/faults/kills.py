"""Kills: every role at every named crash point, every engine, and stops that are asked for under load."""

import signal
import time
from collections.abc import Iterator

from pdm.config import RoleName
from pdm.crash import CrashPoint
from tests.faults.engines import Engine
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run
from tests.faults.roles import CONSUMERS, wait_until

_ROWS: dict[CrashPoint, str] = {
    "ingestor.after_fetch": "2",
    "ingestor.mid_copy": "3",
    "ingestor.before_db_commit": "4",
    "ingestor.after_db_commit": "5",
    "ingestor.on_revoked": "6",
    "inference.after_model": "8",
    "inference.after_step": "7",
    "inference.before_db_commit": "9",
    "inference.after_db_commit": "10",
    "inference.after_redis": "11",
    "inference.in_warm_up": "12",
    "portal.before_db_commit": "13",
    "portal.after_db_commit": "13",
    "portal.after_send": "13",
}
_QUICK = ("ingestor.after_db_commit", "inference.after_db_commit", "portal.after_send")
_ENGINE_ROWS: dict[Engine, str] = {
    "kafka": "15",
    "connect": "14",
    "postgres-main": "19",
    "postgres-ai": "19",
    "valkey": "29",
}


def faults() -> Iterator[Fault]:
    for point, row in _ROWS.items():
        yield Fault(f"crash {point}", (row,), _crash(point), seeds=3, is_quick=point in _QUICK)
    yield Fault("inference crashes on a backlog", ("10",), _crash_on_backlog, seeds=3, is_quick=True)
    for engine, row in _ENGINE_ROWS.items():
        yield Fault(
            f"kill {engine}", (row,), _kill_engine(engine), seeds=3, is_quick=engine in ("postgres-ai", "kafka")
        )
    for role in CONSUMERS:
        yield Fault(f"stop {role} under load", ("63",), _stop(role), seeds=1)
    yield Fault("rolling restart of all roles", ("63",), _rolling_restart)


def role_of(point: CrashPoint) -> RoleName:
    return next(role for role in CONSUMERS if point.startswith(f"{role}."))


def _crash(point: CrashPoint) -> Act:
    role = role_of(point)

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            times = 1 if point in ("inference.in_warm_up", "ingestor.on_revoked") else run.rng.randint(1, 4)
            if point == "ingestor.on_revoked":
                rig.roles[role].restart(PDM_CRASH=point)
                rig.roles[role].wait_ready()
                del rig.roles[role].environment["PDM_CRASH"]
                armed = rig.roles[role].pid
                rig.add_replica(role)  # its joining takes partitions back
                wait_until(lambda: rig.roles[role].pid != armed, 60, f"{role} came by {point}")
            else:
                rig.roles[role].crash_at(f"{point}:{times}")
            rig.roles[role].wait_ready()
        time.sleep(2)

    return act


def _crash_on_backlog(rig: Rig, run: Run) -> None:
    """Whole episodes lie in the batch that is committed, and comes again: nothing of it may be decided twice."""
    role = rig.roles["inference"]
    with run.outage():
        role.pause()
        time.sleep(9)
        role.environment["PDM_CRASH"] = "inference.after_db_commit"
        role.kill_and_wait()
        del role.environment["PDM_CRASH"]
        armed = role.pid
        wait_until(lambda: role.pid != armed, 60, "inference came by its first commit")
        role.wait_ready()


def _kill_engine(engine: Engine) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            before = rig.engines.pids(engine)
            rig.engines.signal(engine, signal.SIGKILL)
            wait_until(lambda: set(rig.engines.pids(engine)) - set(before), 30, f"{engine} started again")
            rig.wait_engine(engine)
        time.sleep(3)

    return act


def _stop(role: RoleName) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            began = time.monotonic()
            rig.roles[role].restart()
            run.figures["stopped_and_begun_s"] = round(time.monotonic() - began, 1)
            rig.roles[role].wait_ready()
        time.sleep(1)

    return act


def _rolling_restart(rig: Rig, run: Run) -> None:
    with run.outage():
        for role in CONSUMERS:
            rig.roles[role].restart()
            rig.roles[role].wait_ready()
