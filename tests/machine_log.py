"""Logs of one partition made from drawn segments: the same segments give the same log, whoever replays it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from pdm.events import Reading
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival

Sensors = tuple[float | None, float | None, float | None, float | None, float | None]
Order = Literal["plain", "doubled", "swapped", "late", "resent"]

BEGIN = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
CALM: Sensors = (299.0, 309.0, 1500.0, 40.0, 10.0)
OVERLOAD: Sensors = (299.0, 309.0, 1250.0, 80.0, 10.0)  # 10.5 kW
HOT: Sensors = (299.0, 307.0, 1350.0, 57.0, 10.0)  # ΔT 8.0 K
WEAK: Sensors = (299.0, 309.0, 2700.0, 10.0, 10.0)  # 2.8 kW
STRAINED: Sensors = (299.0, 309.0, 1400.0, 56.0, 200.0)  # 11,200 min·Nm
HEAVY: Sensors = (299.0, 309.0, 1300.0, 65.5, 10.0)  # only the one-minute mean is violated
BARELY_COOL: Sensors = (299.0, 307.7, 1350.0, 57.0, 10.0)  # within two sigma of the heat limit
NO_TEMPERATURE: Sensors = (299.0, None, 1350.0, 40.0, 10.0)
ONLY_TORQUE: Sensors = (None, None, None, 66.0, None)
ONLY_AIR: Sensors = (299.0, None, None, None, None)
HUGE: Sensors = (1e9, -1e9, 1e9, 1e9, -1e9)
TINY: Sensors = (5e-324, -5e-324, 0.0, -0.0, 5e-324)
ALL: tuple[Sensors, ...] = (
    *(CALM, OVERLOAD, HOT, WEAK, STRAINED, HEAVY, BARELY_COOL, NO_TEMPERATURE, ONLY_TORQUE, ONLY_AIR, HUGE, TINY),
)


@dataclass(frozen=True)
class Segment:
    """`count` readings of one machine. `pace`: event time passes so much faster than the broker's clock."""

    sensors: Sensors
    count: int
    every_s: float = 1.0
    silence_s: float = 0.0  # before the first
    clock_ahead_s: float = 0.0
    pace: float = 1.0
    burst: int = 1  # so many readings are appended at once
    order: Order = "plain"
    machine_id: str = "machine-001"


def log_of(segments: Sequence[Segment], begin: datetime = BEGIN) -> list[Arrival]:
    """The partition's log, one machine's segments after the other's reading by reading; offsets count from 0."""
    made = [
        (at, reading) for machine_id in _machines(segments) for at, reading in _of_machine(segments, machine_id, begin)
    ]
    made.sort(key=lambda item: item[0])  # stable: readings appended together keep their order
    return [
        Arrival(reading, Position(round(at.timestamp() * 1000), offset)) for offset, (at, reading) in enumerate(made)
    ]


def _machines(segments: Sequence[Segment]) -> list[str]:
    return sorted({segment.machine_id for segment in segments})


def _of_machine(segments: Sequence[Segment], machine_id: str, begin: datetime) -> Iterator[tuple[datetime, Reading]]:
    """Append times and readings. A flushed backlog never runs ahead of the broker's clock: it ends at it."""
    at = begin
    for segment in segments:
        if segment.machine_id != machine_id:
            continue
        at += timedelta(seconds=segment.silence_s)
        backlog_s = segment.count * segment.every_s * (1 - 1 / segment.pace)
        at += timedelta(seconds=backlog_s)
        appended, readings = [], []
        for n in range(1, segment.count + 1):
            event = at + timedelta(seconds=n * segment.every_s - backlog_s + segment.clock_ahead_s)
            last_of_burst = min(segment.count, -(-n // segment.burst) * segment.burst)
            appended.append(at + timedelta(seconds=last_of_burst * segment.every_s / segment.pace))
            readings.append(Reading(machine_id, event, *segment.sensors))
        at = appended[-1]
        yield from _disordered(appended, readings, segment.order)


def _disordered(appended: list[datetime], readings: list[Reading], order: Order) -> Iterator[tuple[datetime, Reading]]:
    if order == "swapped":
        for n in range(1, len(readings), 3):
            readings[n - 1], readings[n] = readings[n], readings[n - 1]
    for n, (at, reading) in enumerate(zip(appended, readings, strict=True)):
        yield at, reading
        if order == "doubled":
            yield at, reading
        elif order == "late" and n % 5 == 4:
            yield at, _moved(reading, -15.5)
    if order == "resent":
        for reading in readings:
            yield appended[-1], reading


def _moved(reading: Reading, by_s: float) -> Reading:
    return replace(reading, timestamp=reading.timestamp + timedelta(seconds=by_s))
