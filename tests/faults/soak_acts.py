"""What happens every half minute of a soak: a draw from short faults. Each returns once it is over."""

import random
import signal
import time
from collections.abc import Mapping

from pdm.config import RoleName
from tests.faults.catalogue import all_faults
from tests.faults.engines import ENGINES, Engine
from tests.faults.fault import Act
from tests.faults.rig import Rig, Run
from tests.faults.roles import CONSUMERS, wait_until

FROM_CATALOGUE = (
    "crash ingestor.after_db_commit",
    "crash inference.after_db_commit",
    "crash portal.after_send",
    *(f"kill {engine}" for engine in ENGINES),
    *(f"stop {role} under load" for role in CONSUMERS),
    *(f"{what} to {engine}" for what in ("latency", "resets") for engine in ENGINES if engine != "connect"),
    "connector task failed",
    "connector deleted",
    "every database session ended every 2 s",
    "valkey flushed",
    "valkey pauses its clients for 20 s",
)
FREEZE_S = (3.0, 8.0)
STAY_S = (8.0, 14.0)


def soak_acts() -> dict[str, Act]:
    catalogue = {fault.name: fault.act for fault in all_faults()}
    return (
        {name: catalogue[name] for name in FROM_CATALOGUE}
        | {f"kill {role}": _kill(role) for role in CONSUMERS}
        | {f"{engine} frozen shortly": _freeze_engine(engine) for engine in ENGINES}
        | {f"{role} frozen shortly": _freeze_role(role) for role in CONSUMERS}
        | {f"a second {role} comes and goes": _replica(role) for role in CONSUMERS}
    )


class Draw:
    """Rounds in shuffled order, so that each act comes about equally often."""

    def __init__(self, acts: Mapping[str, Act], rng: random.Random) -> None:
        self._acts = acts
        self._rng = rng
        self._round: list[str] = []

    def next(self) -> tuple[str, Act]:
        if not self._round:
            self._round = sorted(self._acts)
            self._rng.shuffle(self._round)
        name = self._round.pop()
        return name, self._acts[name]


def _kill(role: RoleName) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            before = rig.roles[role].pid
            rig.roles[role].kill()
            wait_until(lambda: rig.roles[role].pid != before, 20, f"{role} started again")
            rig.roles[role].wait_ready()

    return act


def _freeze_engine(engine: Engine) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.engines.signal(engine, signal.SIGSTOP)
            try:
                time.sleep(run.rng.uniform(*FREEZE_S))
            finally:
                rig.engines.signal(engine, signal.SIGCONT)

    return act


def _freeze_role(role: RoleName) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.roles[role].pause()
            try:
                time.sleep(run.rng.uniform(*FREEZE_S))
            finally:
                rig.roles[role].go_on()

    return act


def _replica(role: RoleName) -> Act:
    """It takes a part of the load over and gives it back, by SIGTERM or by a kill."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            replica = rig.add_replica(role)
            replica.wait_ready()
            time.sleep(run.rng.uniform(*STAY_S))
            if run.rng.random() < 0.5:
                replica.kill()

    return act
