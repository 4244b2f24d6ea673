"""What the audit reads of the main database: rows, dead letters, gaps and the ingestor's own account. Reads only."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pdm.store.pool import Connection

_ROWS = """
COPY (SELECT machine_id, timestamp, air_temp_k, process_temp_k, rpm, torque_nm, tool_wear_min, product_type, channels
      FROM sensor_log WHERE machine_id = ANY(%s)
          AND timestamp >= '2000-01-01T00:00:00Z'::timestamptz + %s * interval '1 microsecond'
          AND timestamp <= '2000-01-01T00:00:00Z'::timestamptz + %s * interval '1 microsecond')
TO STDOUT (FORMAT binary)
"""
# The binary form of a timestamp is µs since 2000: read as the number it is, a row costs a third less.
_ROW_TYPES = ("text", "int8", *["float8"] * 5, "text", "jsonb")
_LETTERS = """
SELECT kafka_offset, round(extract(epoch FROM appended_at) * 1000)::bigint, reason
FROM dead_letter WHERE topic = %s AND kafka_partition = %s
"""
_REPLAYED = "SELECT key, value FROM dead_letter WHERE topic = %s AND replayed_at IS NOT NULL AND value IS NOT NULL"
_GAPS = "SELECT kafka_partition, from_offset, to_offset FROM log_gap WHERE consumer_group = %s AND topic = %s"
# From id to id through the index, instead of through every row.
_MACHINES = """
WITH RECURSIVE found (id) AS (
    SELECT min(machine_id) FROM sensor_log WHERE machine_id >= %(prefix)s
    UNION ALL
    SELECT (SELECT min(machine_id) FROM sensor_log WHERE machine_id > found.id) FROM found
    WHERE starts_with(found.id, %(prefix)s)
) SELECT id FROM found WHERE starts_with(id, %(prefix)s)
"""
_PROGRESS = """
SELECT kafka_partition, from_offset, next_offset, stored, duplicates, dead_letters, vanished
FROM ingest_progress WHERE topic = %s ORDER BY kafka_partition
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """The ingestor's own account of one partition: every offset from `from_offset` up to `next_offset`."""

    partition: int
    from_offset: int
    next_offset: int
    stored: int
    duplicates: int
    dead_letters: int
    vanished: int


def forbid_writes(conn: Connection) -> None:
    conn.execute("SET default_transaction_read_only = on")
    conn.execute("SET timezone = 'UTC'")


def rows_between(
    conn: Connection, machine_ids: Sequence[str], first_us: int, last_us: int
) -> Iterator[tuple[Any, ...]]:
    """Rows with first ≤ timestamp ≤ last, in no order; the time of each as µs since 2000."""
    with conn.cursor().copy(_ROWS, [list(machine_ids), first_us, last_us]) as copy:
        copy.set_types(_ROW_TYPES)
        yield from copy.rows()


def dead_letter_places(conn: Connection, topic: str, partition: int) -> dict[tuple[int, int], str]:
    """Offset and append time, ms, of every dead letter of the partition, to its reason."""
    rows = conn.execute(_LETTERS, [topic, partition])
    return {(offset, appended_ms): reason for offset, appended_ms, reason in rows}


def replayed_letters(conn: Connection, topic: str) -> Iterator[tuple[bytes | None, bytes]]:
    yield from conn.execute(_REPLAYED, [topic])


def log_gaps(conn: Connection, group: str, topic: str) -> dict[int, list[tuple[int, int]]]:
    """By partition: offsets that were gone before the group read them, first and one past the last.

    Of a topic that was made anew the last is 0: nobody knows how far the old one went.
    """
    gaps: dict[int, list[tuple[int, int]]] = {}
    for partition, first, end in conn.execute(_GAPS, [group, topic]):
        gaps.setdefault(partition, []).append((first, end))
    return gaps


def machines_stored(conn: Connection, prefix: str) -> list[str]:
    return [row[0] for row in conn.execute(_MACHINES, {"prefix": prefix})]


def ingest_progress(conn: Connection, topic: str) -> list[Progress]:
    return [Progress(*row) for row in conn.execute(_PROGRESS, [topic])]


def now_utc(conn: Connection) -> datetime:
    (row,) = conn.execute("SELECT now()").fetchall()
    found: datetime = row[0]
    return found.astimezone(UTC)
