"""F: what Redis shows of a machine against the detector's own step over the log. Pure.

Redis shows a machine as of one record, the newest of the batch that wrote it; its append time is `last_seen`. State is
compared with the open episode, for a model, which plays no part here, may have decided it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isclose

from pdm.audit.findings import Tally
from pdm.errors import BadRecord
from pdm.events import decode_reading
from pdm.inference.clock import SKEW_S
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival, Cadence, Machine, observe
from pdm.inference.shown import features_of

TOLERANCE = 1e-9
LAST = ("last_air_temp", "last_process_temp", "last_rpm", "last_torque", "last_tool_wear")
MEANS = ("temp_1m_avg", "air_temp_1m_avg", "rpm_1m_avg", "torque_1m_avg", "power_1m_avg")
LOOKS = (1, 10)  # warm-ups read before the newest record: as a restarted inference does, then as one that ran on


@dataclass(slots=True)
class Shown:
    """One machine: its features, and what the log gave for the records of that append time."""

    features: Mapping[str, str]
    seen_ms: int
    start_ms: int
    machine: Machine
    is_found: bool = False
    is_partial: bool = False  # the log no longer holds all that the means came from
    is_behind: bool = False
    difference: tuple[str, str] | None = None  # feature, and how it differs; None once a record agrees
    has_agreed: bool = False


@dataclass(slots=True)
class Recomputation:
    """Take the records in order, a partition at a time. `judged`: by partition, inference has handled all before."""

    shown: dict[str, Shown]
    judged: Mapping[int, int]
    readings: int = 0
    cut: frozenset[int] = frozenset()  # partitions whose older records are gone
    _first_ms: dict[int, int] = field(default_factory=dict)

    @property
    def start_ms(self) -> int:
        return min((shown.start_ms for shown in self.shown.values()), default=0)

    def take(self, partition: int, offset: int, appended_ms: int, key: bytes | None, value: bytes | None) -> None:
        first_ms = self._first_ms.setdefault(partition, appended_ms)
        if key is not None:  # most records are none of those needed: spare their decoding
            shown = self.shown.get(key.decode(errors="replace"))
            if shown is None or appended_ms < shown.start_ms or shown.is_behind:
                return
        try:
            reading = decode_reading(key, value)
        except BadRecord:
            return
        shown = self.shown.get(reading.machine_id)
        if shown is None or appended_ms < shown.start_ms:
            return
        if appended_ms > shown.seen_ms:
            shown.is_behind = shown.is_behind or offset < self.judged.get(partition, 0)
            return
        self.readings += 1
        arrival = Arrival(reading, Position(appended_ms, offset))
        observe(shown.machine, arrival)
        if appended_ms == shown.seen_ms:
            shown.is_partial = partition in self.cut and shown.start_ms < first_ms
            _compare(shown, arrival)

    def settle(self, severities: Mapping[str, str], tally: Tally) -> None:
        """`severities`: of the machines with an open episode."""
        oldest_ms = min(self._first_ms.values(), default=None)
        for machine_id, shown in self.shown.items():
            if shown.is_behind:
                tally.add("F", "Redis is behind what inference has judged", machine_id)
            elif shown.is_found and not shown.has_agreed and shown.difference is not None:
                feature, how = shown.difference
                tally.add("F", f"{feature} in Redis is not what the log gives", machine_id, None, how)
            elif not shown.is_found and oldest_ms is not None and shown.seen_ms > oldest_ms:
                tally.add("F", "Redis shows a reading that the log does not hold", machine_id)
            state, wanted = shown.features.get("state", "absent"), severities.get(machine_id, "clear")
            if state != wanted:
                tally.add("F", "state in Redis is not that of the episode", machine_id, None, f"{state}, not {wanted}")


def recomputation(
    features: Mapping[str, Mapping[str, str]],
    judged: Mapping[int, int],
    cadence: Cadence,
    tally: Tally,
    warm_ups: int = LOOKS[0],
) -> Recomputation:
    shown = {}
    for machine_id, found in features.items():
        try:
            seen_ms = round(datetime.fromisoformat(found["last_seen"]).timestamp() * 1000)
        except (KeyError, ValueError):
            tally.add("F", "a machine has no features in Redis", machine_id)
        else:
            start_ms = seen_ms - round(warm_ups * cadence.warm_up_s * 1000)
            shown[machine_id] = Shown(found, seen_ms, start_ms, Machine.new(machine_id, cadence))
    return Recomputation(shown, judged)


def _compare(shown: Shown, arrival: Arrival) -> None:
    """Several records may have one append time: one that agrees is enough."""
    shown.is_found = True
    shown.difference = next(_differences(shown, arrival), None)
    shown.has_agreed = shown.has_agreed or shown.difference is None


def _differences(shown: Shown, arrival: Arrival) -> Iterator[tuple[str, str]]:
    recomputed = features_of(shown.machine, arrival)
    for feature in LAST:
        value = recomputed[feature]
        if value is not None and shown.features.get(feature) != str(value):
            yield feature, f"{shown.features.get(feature)}, not {value}"
    if shown.is_partial or abs(shown.machine.clock.skew_s) > SKEW_S:
        return  # a restart while a clock is wrong may leave less in a window than the log gives
    for feature in MEANS:
        value, text = recomputed[feature], shown.features.get(feature)
        if not _is_same(value, text):
            yield feature, f"{text}, not {value}"


def _is_same(value: str | float | None, text: str | None) -> bool:
    if value is None or text is None:
        return value is None and text is None
    try:
        return isclose(float(text), float(value), rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except ValueError:
        return False


def from_ms(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
