"""Writes records that could not be stored into `dead_letter`, once for each place in the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pdm.errors import RejectReason
from pdm.store.pool import Connection

_INSERT = """
INSERT INTO dead_letter (topic, kafka_partition, kafka_offset, appended_at, reason, detail, key, value)
SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[],
                     %s::bytea[], %s::bytea[])
ON CONFLICT (topic, kafka_partition, kafka_offset, appended_at) DO NOTHING
RETURNING reason
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record set aside: where it stands in the log, why, and its bytes."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    reason: RejectReason
    detail: str
    key: bytes | None
    value: bytes | None


def add_dead_letters(conn: Connection, letters: Sequence[DeadLetter]) -> list[RejectReason]:
    """Write those not yet there; return the reasons of the new ones. The caller commits."""
    if not letters:
        return []
    rows = [
        (x.topic, x.partition, x.offset, x.appended_at, x.reason, x.detail, x.key, x.value)
        for x in sorted(letters, key=lambda x: (x.topic, x.partition, x.offset))
    ]
    return [reason for (reason,) in conn.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])]
