"""What a fault is: a name to run it by, the rows of the table it shows, and the act itself."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from tests.faults.rig import MACHINES, RATE_HZ, Rig, Run
from tests.faults.sender import Twist, straight

Act = Callable[[Rig, Run], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """`act` does the harm and returns once it is over; recovery is nobody's hand. `expected_s` orders the lanes."""

    name: str
    rows: tuple[str, ...]
    act: Act
    seeds: int = 1
    is_quick: bool = False
    expected_s: float = 20.0
    machines: int = MACHINES
    rate_hz: float = RATE_HZ
    twist_for: Callable[[random.Random], Twist] = lambda _: straight
    clock_offset: timedelta = timedelta(0)
    has_truth: bool = True
    needs: str | None = None  # why it cannot run here; it is then named and left out

    def run(self, rig: Rig, seed: int, name: str = "") -> Run:
        """`name` takes the place of its own in the machines' ids, where one stack sees the fault twice."""
        return rig.run(
            name or self.name,
            seed,
            self.act,
            machines=self.machines,
            rate_hz=self.rate_hz,
            twist_for=self.twist_for,
            clock_offset=self.clock_offset,
            has_truth=self.has_truth,
        )
