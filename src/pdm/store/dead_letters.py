"""Writes records that could not be stored into `dead_letter`, once for each place in the log."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter

import msgspec
from msgspec.structs import astuple, replace
from psycopg import errors as pg
from psycopg.types.string import BytesBinaryDumper

from pdm.errors import RejectReason
from pdm.store.pool import Connection

_COLUMNS = "topic, kafka_partition, kafka_offset, appended_at, reason, detail, key, value"
_TYPES = ("text", "int4", "int8", "timestamptz", "text", "text", "bytea", "bytea")
_COPY = f"COPY dead_letter ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_INSERT = f"""
INSERT INTO dead_letter ({_COLUMNS})
SELECT * FROM unnest({", ".join(f"%s::{name}[]" for name in _TYPES)})
ON CONFLICT (topic, kafka_partition, kafka_offset, appended_at) DO NOTHING
RETURNING reason
"""  # noqa: S608  # composed of our own column names
# The length of a long value stands in its row: none is read whole.
_BODY_BYTES = "SELECT coalesce(sum(octet_length(key)), 0) + coalesce(sum(octet_length(value)), 0) FROM dead_letter"

_PLACE = attrgetter("topic", "partition", "offset")


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """One record set aside: where it stands in the log, why, and its bytes. The fields are the columns, in order."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    reason: RejectReason
    detail: str
    key: bytes | None
    value: bytes | None


def without_body(letter: DeadLetter, why: str) -> DeadLetter:
    return replace(letter, detail=f"{letter.detail}; its body is not kept: {why}", key=None, value=None)


def add_dead_letters(conn: Connection, letters: Sequence[DeadLetter]) -> list[RejectReason]:
    """Write those not yet there; return the reasons of the new ones. The caller commits."""
    if not letters:
        return []
    # In one order, so that two writers of the same records wait for each other instead of deadlocking.
    rows = [astuple(letter) for letter in sorted(letters, key=_PLACE)]
    try:
        cursor = conn.cursor()
        # For bytea psycopg would take the dumper of its DB-API class `Binary`: in Python, a tenth of the batch's time.
        cursor.adapters.register_dumper(bytes, BytesBinaryDumper)
        with conn.transaction(), cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(row)
    except pg.UniqueViolation:  # a redelivery: rare, and four times as dear
        return [reason for (reason,) in conn.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])]
    return [letter.reason for letter in letters]


def body_bytes(conn: Connection) -> int:
    """The size of every kept key and value. Reads the whole table."""
    row = conn.execute(_BODY_BYTES).fetchone()
    return int(row[0]) if row else 0
