"""A machine that is driven by hand: one reading after the other, time and log position given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pdm.events import Reading
from pdm.inference.episode import Change, Position
from pdm.inference.machine import Arrival, Cadence, Machine, step
from pdm.inference.scores import Score

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CALM = {"air_temp_k": 299.0, "process_temp_k": 309.0, "rpm": 1500.0, "torque_nm": 40.0, "tool_wear_min": 10.0}
OVERLOAD = {**CALM, "rpm": 1250.0, "torque_nm": 80.0}  # 10.5 kW
HOT = {**CALM, "process_temp_k": 307.0, "rpm": 1350.0, "torque_nm": 57.0}  # ΔT 8.0 K, 8.1 kW
WEAK = {**CALM, "rpm": 2700.0, "torque_nm": 10.0}  # 2.8 kW
STRAINED = {**CALM, "rpm": 1400.0, "torque_nm": 56.0, "tool_wear_min": 200.0}  # 11,200 min·Nm, 8.2 kW


def make_reading(values: Mapping[str, float | None] = CALM, at: datetime = START) -> Reading:
    return msgspec.convert({"machine_id": "machine-001", "timestamp": at, **values}, Reading)


@dataclass
class Driver:
    """Sends readings, unless told otherwise a second apart and by a clock that agrees with the broker's."""

    machine: Machine = field(default_factory=lambda: Machine.new("machine-001", Cadence.of(5.0)))
    at: datetime = START
    offset: int = 0
    changes: list[Change] = field(default_factory=list)

    def send(
        self,
        values: Mapping[str, float | None],
        count: int = 1,
        *,
        every_s: float = 1.0,
        clock_ahead_s: float = 0.0,
        score: Score | None = None,
    ) -> list[Change]:
        """Returns the transitions that these readings caused."""
        caused = []
        for _ in range(count):
            self.at += timedelta(seconds=every_s)
            self.offset += 1
            reading = make_reading(values, self.at + timedelta(seconds=clock_ahead_s))
            position = Position(round(self.at.timestamp() * 1000), self.offset)
            if (change := step(self.machine, Arrival(reading, position, score))) is not None:
                caused.append(change)
        self.changes += caused
        return caused


@pytest.fixture
def driver() -> Driver:
    return Driver()
