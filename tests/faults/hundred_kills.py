"""A hundred kills -9 at random over roles and engines in one run: all come back by themselves, and nothing is lost.

`python -m tests.faults.hundred_kills --kills 100`: 3,000 readings a kill.
"""

import argparse
import asyncio
import random
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdm.audit import audit
from pdm.config import ROLES, RoleName
from tests.faults.engines import ENGINES, Engine
from tests.faults.long_run import Outcome, Speaker, run_long
from tests.faults.rig import Rig, Run, told_as
from tests.faults.roles import wait_until
from tests.faults.simulated import Simulated

READINGS_PER_KILL = 3_000
MACHINES = 40
RATE_HZ = 10.0  # 300,000 readings in 12.5 minutes, and what Kafka's outages cost
BACK_WITHIN_S = 90.0  # what a role needs may be killed after it
LOOK_EVERY_S = 0.2
SPARE_S = 300.0  # beyond twice the time that the readings take by themselves

Victim = RoleName | Engine


@dataclass
class Kill:
    """`at_s` since the first kill was possible; `back_s` after it the victim works again."""

    victim: Victim
    at_s: float
    before: frozenset[int]  # its process ids
    back_s: float | None = None


@dataclass
class Killing:
    """Kills at random moments of the load, victims in shuffled rounds; only who is up is killed."""

    rig: Rig
    rng: random.Random
    kills: list[Kill] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)
    _round: list[Victim] = field(default_factory=list)

    @property
    def down(self) -> list[Kill]:
        return [kill for kill in self.kills if kill.back_s is None]

    def kill_one(self) -> bool:
        """False while everyone who is left of this round is down."""
        if not self._round:
            self._round = [*ROLES, *ENGINES]
            self.rng.shuffle(self._round)
        down = {kill.victim for kill in self.down}
        victim = next((victim for victim in self._round if victim not in down), None)
        if victim is None or not (before := self._pids(victim)):
            return False
        self._round.remove(victim)
        self.kills.append(Kill(victim, time.monotonic() - self.began_s, frozenset(before)))
        if victim in self.rig.roles:
            self.rig.roles[victim].kill()
        else:
            self.rig.engines.signal(victim, signal.SIGKILL)  # type: ignore[arg-type]
        return True

    def look(self) -> None:
        """Note who is back. Raises TimeoutError when one does not come."""
        for kill in self.down:
            passed_s = time.monotonic() - self.began_s - kill.at_s
            if set(self._pids(kill.victim)) - kill.before and self._works(kill.victim):
                kill.back_s = passed_s
            elif passed_s > BACK_WITHIN_S:
                raise TimeoutError(f"{kill.victim} did not come back by itself within {BACK_WITHIN_S:.0f} s")

    def outages(self) -> Iterator[tuple[float, float]]:
        """Begin and end, s, of the times in which anybody was down."""
        begin = end = 0.0
        for kill in self.kills:
            if kill.at_s > end:
                if end:
                    yield begin, end
                begin = kill.at_s
            end = max(end, kill.at_s + (kill.back_s or 0.0))
        if end:
            yield begin, end

    def figures(self) -> dict[str, Any]:
        by_victim: dict[str, list[float]] = {}
        for kill in self.kills:
            by_victim.setdefault(kill.victim, []).append(kill.back_s or BACK_WITHIN_S)
        lengths = [end - begin for begin, end in self.outages()]
        return {
            "kills": len(self.kills),
            "victims": {victim: _spread(backs) for victim, backs in sorted(by_victim.items())},
            "outages": len(lengths),
            "outages_s": round(sum(lengths), 1),
            "longest_outage_s": round(max(lengths, default=0.0), 1),
        }

    def _pids(self, victim: Victim) -> Sequence[int]:
        if victim in self.rig.roles:
            return self.rig.roles[victim].lives[-1:]
        return self.rig.engines.pids(victim)  # type: ignore[arg-type]

    def _works(self, victim: Victim) -> bool:
        if victim in self.rig.roles:
            return self.rig.roles[victim].is_ready()
        return self.rig.answers(victim)  # type: ignore[arg-type]


def main() -> int:
    args = _arguments()
    outcome = Outcome("kills", f"{args.kills} kills", args.seed)
    readings = args.readings or READINGS_PER_KILL * args.kills
    return run_long(outcome, lambda folder: _live(folder, outcome, args.kills, readings), args.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hundred_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--readings", type=int, help=f"acknowledged; absent: {READINGS_PER_KILL:,} a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", default="", help="write the results there")
    return parser.parse_args()


def _live(folder: Path, outcome: Outcome, kills: int, readings: int) -> None:
    with Rig(folder, outcome.seed, has_links=False) as rig:
        simulated = Simulated(rig, "simulated-")
        simulated.role.wait_ready()

        def act(rig: Rig, run: Run) -> None:
            _kill_under_load(rig, run, simulated, kills, readings)

        run = rig.run("kills", outcome.seed, act, machines=MACHINES, rate_hz=RATE_HZ)
        outcome.findings += run.findings
        outcome.figures |= run.figures
        outcome.findings += _judge_everything(rig, outcome)


def _kill_under_load(rig: Rig, run: Run, simulated: Simulated, kills: int, readings: int) -> None:
    """Returns once the readings are sent and everybody is back. `run.outage_s` is then that of the last outage."""
    due = sorted(run.rng.uniform(0, readings) for _ in range(kills))
    killing, speaker, sent = Killing(rig, run.rng), Speaker(), run.sender.ledger
    deadline = time.monotonic() + 2 * readings / (MACHINES * RATE_HZ) + SPARE_S
    try:
        while len(sent) < readings or len(killing.kills) < kills or killing.down:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(sent):,} readings and {len(killing.kills)} kills, then the time was over")
            if len(killing.kills) < kills and len(sent) >= due[len(killing.kills)]:
                killing.kill_one()
            killing.look()
            simulated.keep_ordered()
            speaker.say_at_times(lambda: f"{len(killing.kills)} kills, {len(sent):,} readings acknowledged")
            time.sleep(LOOK_EVERY_S)
        wait_until(simulated.stop, 20, "the simulator stops its machines")
    finally:
        outages = [end - begin for begin, end in killing.outages()]
        run.outage_s = outages[-1] if outages else 0.0
        run.figures |= {**killing.figures(), "simulator_ordered": simulated.times_ordered}
    run.figures["timeline"] = [[kill.victim, round(kill.at_s, 1), round(kill.back_s or 0, 1)] for kill in killing.kills]


def _judge_everything(rig: Rig, outcome: Outcome) -> list[str]:
    """The simulator's machines too: what the log says must be stored and told, no ledger needed."""
    found = asyncio.run(audit(rig.settings))
    outcome.figures["everything"] = found.counts
    return [f"all machines: {told_as(finding)}" for finding in found.findings]


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "kills": len(seconds),
        "back_s_median": round(statistics.median(seconds), 1),
        "back_s_max": round(max(seconds), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
