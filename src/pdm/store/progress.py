"""`ingest_progress`: how far each partition is stored, moved in the transaction that stores it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pdm.continuity import Place
from pdm.store.pool import Connection

_LOCK = """
SELECT kafka_partition, from_offset, next_offset, newest_appended_at, stored, duplicates, dead_letters, vanished
FROM ingest_progress WHERE topic = %s AND kafka_partition = ANY(%s) ORDER BY kafka_partition FOR NO KEY UPDATE
"""
_ADD = """
INSERT INTO ingest_progress
    (topic, kafka_partition, from_offset, next_offset, newest_appended_at, stored, duplicates, dead_letters, vanished)
SELECT %s, p, 0, -1, 'epoch', 0, 0, 0, 0 FROM unnest(%s::int[]) p ORDER BY p ON CONFLICT DO NOTHING
"""
_MOVE = """
UPDATE ingest_progress SET from_offset = m.from_offset, next_offset = m.next_offset,
    newest_appended_at = m.newest_appended_at, stored = m.stored, duplicates = m.duplicates,
    dead_letters = m.dead_letters, vanished = m.vanished
FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bigint[],
            %s::bigint[])
    AS m (kafka_partition, from_offset, next_offset, newest_appended_at, stored, duplicates, dead_letters, vanished)
WHERE topic = %s AND ingest_progress.kafka_partition = m.kafka_partition
"""
_ALL = """
SELECT kafka_partition, next_offset, next_offset - from_offset - stored - duplicates - dead_letters - vanished
FROM ingest_progress WHERE topic = %s
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """One partition: next_offset - from_offset = stored + duplicates + dead_letters + vanished, in records."""

    from_offset: int
    next_offset: int
    newest_ms: int
    stored: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    vanished: int = 0

    @property
    def place(self) -> Place:
        return Place(self.next_offset, self.newest_ms)


@dataclass(frozen=True, slots=True)
class Account:
    """What the reconciliation needs of a partition. `unaccounted`: offsets passed of which no row tells."""

    next_offset: int
    unaccounted: int


def lock_progress(conn: Connection, topic: str, partitions: Sequence[int]) -> dict[int, Progress]:
    """The rows of these partitions, held until the end of the transaction, so that two owners go one after the other.

    A partition that was never stored is held too, and not in the result. Its row must be written before the commit.
    """
    rows = conn.execute(_LOCK, [topic, list(partitions)]).fetchall()
    if len(rows) < len(partitions):
        conn.execute(_ADD, [topic, list(partitions)])  # waits for another owner that adds the same
        rows = conn.execute(_LOCK, [topic, list(partitions)]).fetchall()
    return {
        partition: Progress(from_offset, next_offset, round(newest.timestamp() * 1000), *counts)
        for partition, from_offset, next_offset, newest, *counts in rows
        if next_offset >= 0
    }


def move_progress(conn: Connection, topic: str, moved: Mapping[int, Progress]) -> None:
    """Needs `lock_progress` in the same transaction."""
    rows = [
        (
            partition,
            x.from_offset,
            x.next_offset,
            datetime.fromtimestamp(x.newest_ms / 1000, UTC),
            x.stored,
            x.duplicates,
            x.dead_letters,
            x.vanished,
        )
        for partition, x in moved.items()
    ]
    conn.execute(_MOVE, [*map(list, zip(*rows, strict=True)), topic])


def accounts(conn: Connection, topic: str) -> dict[int, Account]:
    return {partition: Account(end, missing) for partition, end, missing in conn.execute(_ALL, [topic])}
