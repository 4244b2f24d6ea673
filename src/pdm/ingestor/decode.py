"""Sorts a batch of raw records into readings and dead letters. Pure; raises nothing, whatever the bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from pdm.broker import Batch
from pdm.continuity import Span, spans_of
from pdm.errors import BadRecord, RejectReason
from pdm.events import MAX_RECORD_BYTES, Reading, decode_reading
from pdm.store.dead_letters import DeadLetter
from pdm.store.partitions import Bounds


@dataclass(frozen=True, slots=True)
class Decoded:
    """A batch in log order: `readings[i]` came from `records[i]`; `rejected` is the rest; `spans` covers all."""

    records: Sequence[ConsumerRecord]
    readings: Sequence[Reading]
    rejected: Sequence[DeadLetter]
    spans: Sequence[Span] = ()


def decode_batch(batch: Batch) -> Decoded:
    records, readings, rejected = [], [], []
    for record in batch:
        try:
            reading = decode_reading(record.key, record.value)
        except BadRecord as error:
            rejected.append(dead_letter(record, error.reason, error.detail))
        else:
            records.append(record)
            readings.append(reading)
    return Decoded(records, readings, rejected, tuple(spans_of(batch)))


def keep_within(decoded: Decoded, bounds: Bounds) -> Decoded:
    """Reject the readings that no partition of `sensor_log` holds."""
    first, end = bounds.first, bounds.end
    outside = [place for place, reading in enumerate(decoded.readings) if not first <= reading.timestamp < end]
    if not outside:
        return decoded
    letters = [_outside(decoded.records[place], decoded.readings[place].timestamp, bounds) for place in outside]
    gone = set(outside)
    return replace(
        decoded,
        records=[record for place, record in enumerate(decoded.records) if place not in gone],
        readings=[reading for place, reading in enumerate(decoded.readings) if place not in gone],
        rejected=[*decoded.rejected, *letters],
    )


def conflicts_of(decoded: Decoded, places: Sequence[int]) -> list[DeadLetter]:
    return [
        dead_letter(
            decoded.records[place],
            "conflicting_duplicate",
            f"other values are stored for {decoded.readings[place].machine_id} "
            f"at {decoded.readings[place].timestamp.isoformat()}",
        )
        for place in places
    ]


def dead_letter(record: ConsumerRecord, reason: RejectReason, detail: str) -> DeadLetter:
    """Keeps at most MAX_RECORD_BYTES of key and of value, and says so."""
    for name, body in (("key", record.key), ("value", record.value)):
        if body is not None and len(body) > MAX_RECORD_BYTES:
            detail += f"; the first {MAX_RECORD_BYTES} of {len(body)} bytes of its {name} are kept"
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        appended_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        reason=reason,
        detail=detail.replace("\0", ""),  # PostgreSQL's text takes no NUL
        key=record.key and record.key[:MAX_RECORD_BYTES],
        value=record.value and record.value[:MAX_RECORD_BYTES],
    )


def _outside(record: ConsumerRecord, timestamp: datetime, bounds: Bounds) -> DeadLetter:
    if timestamp < bounds.first:
        return dead_letter(record, "too_old", f"{timestamp.isoformat()} is before {bounds.first.isoformat()}")
    return dead_letter(record, "too_new", f"{timestamp.isoformat()} is not before {bounds.end.isoformat()}")
