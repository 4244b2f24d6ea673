"""Sorts a batch of raw records into readings and dead letters. Pure; raises nothing, whatever the bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from aiokafka import ConsumerRecord

from pdm.broker import Batch
from pdm.continuity import Span, spans_of
from pdm.errors import BadRecord, RejectReason
from pdm.events import MAX_RECORD_BYTES, Reading, read_reading
from pdm.store.dead_letters import DeadLetter
from pdm.store.partitions import Bounds

MAX_DETAIL_CHARS = 500


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
        found = read_reading(record.key, record.value)
        if isinstance(found, BadRecord):
            rejected.append(dead_letter(record, found.reason, found.detail))
        else:
            records.append(record)
            readings.append(found)
    return Decoded(records, readings, rejected, tuple(spans_of(batch)))


def keep_within(decoded: Decoded, bounds: Bounds) -> Decoded:
    """Reject the readings that no partition of `sensor_log` holds."""
    first, end = bounds.first, bounds.end
    if all(first <= reading.timestamp < end for reading in decoded.readings):
        return decoded
    refused = {place: outside(reading.timestamp, bounds) for place, reading in enumerate(decoded.readings)}
    gone = {place: error for place, error in refused.items() if error}
    letters = [dead_letter(decoded.records[place], error.reason, error.detail) for place, error in gone.items()]
    return replace(
        decoded,
        records=[record for place, record in enumerate(decoded.records) if place not in gone],
        readings=[reading for place, reading in enumerate(decoded.readings) if place not in gone],
        rejected=[*decoded.rejected, *letters],
    )


def conflicts_of(decoded: Decoded, places: Sequence[int]) -> list[DeadLetter]:
    return [
        dead_letter(decoded.records[place], "conflicting_duplicate", conflict_text(decoded.readings[place]))
        for place in places
    ]


def conflict_text(reading: Reading) -> str:
    return f"other values are stored for {reading.machine_id} at {reading.timestamp.isoformat()}"


def dead_letter(record: ConsumerRecord, reason: RejectReason, detail: str) -> DeadLetter:
    """Keeps at most MAX_RECORD_BYTES of key and of value, and says so."""
    key, value, detail = record.key, record.value, detail_text(detail)
    if (key and len(key) > MAX_RECORD_BYTES) or (value and len(value) > MAX_RECORD_BYTES):
        for name, body in (("key", key), ("value", value)):
            if body is not None and len(body) > MAX_RECORD_BYTES:
                detail += f"; the first {MAX_RECORD_BYTES} of {len(body)} bytes of its {name} are kept"
        key, value = key and key[:MAX_RECORD_BYTES], value and value[:MAX_RECORD_BYTES]
    appended_at = _utc(record.timestamp)
    return DeadLetter(record.topic, record.partition, record.offset, appended_at, reason, detail, key, value)


def detail_text(detail: str) -> str:
    """Short, for some details quote the record; and without NUL, which PostgreSQL's text does not take."""
    return detail[:MAX_DETAIL_CHARS].replace("\0", "")


def outside(timestamp: datetime, bounds: Bounds) -> BadRecord | None:
    """Why no partition of `sensor_log` holds a reading of this time; None when one does."""
    if timestamp < bounds.first:
        return BadRecord("too_old", f"{timestamp.isoformat()} is before {bounds.first.isoformat()}")
    if timestamp >= bounds.end:
        return BadRecord("too_new", f"{timestamp.isoformat()} is not before {bounds.end.isoformat()}")
    return None


@lru_cache(maxsize=256)
def _utc(appended_ms: int) -> datetime:
    """Remembered: records sent together are appended at one time."""
    return datetime.fromtimestamp(appended_ms / 1000, UTC)
