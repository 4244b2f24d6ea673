"""What the machines of a fault run do, reading by reading, and what is truly wrong with them. Pure and seeded.

Each is calm, then has a burst of readings beyond a limit, then is calm again: one episode a burst, which clears.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pdm.audit import Trouble
from pdm.events import Reading

Burst = Literal["overload", "idle, then overload", "heat"]
BURSTS: tuple[Burst, ...] = ("overload", "idle, then overload", "heat")

CALM_FIRST = 20
CALM = (25, 60)  # readings between two bursts: ten clear an episode
BURST = (9, 12)  # three of five open one, also when every second one comes out of order


@dataclass(frozen=True, slots=True)
class Load:
    """One operating point of the milling machine."""

    torque_nm: float
    rpm: float
    process_temp_k: float = 310.0  # at 300 K of air


CALM_LOAD = Load(40.0, 1500.0)
OVERLOAD = Load(80.0, 1250.0)  # 10.5 kW
IDLE = Load(9.0, 2730.0)  # 2.6 kW, below the band: opens as Power, escalates to Overstrain
IDLE_FIRST = 5
HEAT = Load(56.0, 1357.0, process_temp_k=307.5)  # ΔT 7.5 K


@dataclass
class Machine:
    """An endless script. `troubles` grows as its bursts are told; once `is_ending` no burst begins any more."""

    machine_id: str
    rng: random.Random
    has_bursts: bool = True
    is_ending: bool = False
    troubles: list[Trouble] = field(default_factory=list)
    calm_for: int = 0  # calm readings told since the last burst
    _script: Iterator[tuple[Load, bool]] | None = None

    @property
    def is_at_rest(self) -> bool:
        """Calm for long enough that its last episode has cleared."""
        return self.is_ending and self.calm_for >= CALM_FIRST

    def read(self, timestamp: datetime) -> Reading:
        """The next reading of the script, at this time."""
        self._script = self._script or self._loads()
        load, is_trouble = next(self._script)
        if is_trouble:
            self._note(timestamp)
        return Reading(
            machine_id=self.machine_id,
            timestamp=timestamp,
            air_temp_k=300.0,
            process_temp_k=load.process_temp_k,
            rpm=load.rpm,
            torque_nm=load.torque_nm,
            tool_wear_min=5.0,
            product_type="L",
        )

    def _note(self, timestamp: datetime) -> None:
        if self.calm_for:
            self.troubles.append(Trouble(self.machine_id, timestamp, timestamp))
        self.troubles[-1] = replace(self.troubles[-1], ended_at=timestamp)
        self.calm_for = 0

    def _loads(self) -> Iterator[tuple[Load, bool]]:
        """Each with whether it is part of a burst."""
        yield from self._calm(CALM_FIRST)
        while True:
            if self.has_bursts and not self.is_ending:
                yield from self._burst(self.rng.choice(BURSTS))
            yield from self._calm(self.rng.randint(*CALM))

    def _calm(self, count: int) -> Iterator[tuple[Load, bool]]:
        for _ in range(count):
            self.calm_for += 1
            yield Load(self.rng.gauss(CALM_LOAD.torque_nm, 1.0), self.rng.gauss(CALM_LOAD.rpm, 10.0)), False

    def _burst(self, kind: Burst) -> Iterator[tuple[Load, bool]]:
        for number in range(self.rng.randint(*BURST)):
            if kind == "heat":
                yield HEAT, True
            elif kind == "idle, then overload" and number < IDLE_FIRST:
                yield IDLE, True
            else:
                yield OVERLOAD, True
