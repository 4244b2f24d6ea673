"""Reads and changes rows of `dead_letter` for a person at the command line. The caller commits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg.rows import class_row

from pdm.errors import RejectReason
from pdm.store.pool import Connection


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters are meant: those for which every condition given holds."""

    ids: Sequence[int] | None = None
    reason: RejectReason | None = None
    machine_id: str | None = None  # found by key, or in a value that names it in the usual way
    since: datetime | None = None  # received then or later
    until: datetime | None = None  # received before
    is_replayed: bool | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One row of `dead_letter` but for its bodies, of which the sizes are given."""

    id: int
    topic: str
    kafka_partition: int
    kafka_offset: int
    appended_at: datetime
    received_at: datetime
    reason: RejectReason
    detail: str
    key_bytes: int | None
    value_bytes: int | None
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Body:
    """What a replay needs of one row."""

    id: int
    reason: RejectReason
    detail: str
    key: bytes | None
    value: bytes | None

    @property
    def is_whole(self) -> bool:
        """False when it was cut, or not kept at all: what is left may be another reading, or none."""
        return self.reason != "oversized" and (self.value is not None or self.reason == "null_value")


@dataclass(frozen=True, slots=True)
class Group:
    """The letters of one reason."""

    reason: RejectReason
    waiting: int
    replayed: int
    newest_at: datetime
    body_bytes: int


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a choice comes to. `newest_id` is 0 when it is empty."""

    letters: int
    body_bytes: int
    newest_id: int


_CHOSEN = """
    (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
    AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
    AND (%(is_replayed)s::boolean IS NULL OR (replayed_at IS NOT NULL) = %(is_replayed)s)
    AND (%(machine_id)s::text IS NULL OR key = convert_to(%(machine_id)s, 'UTF8')
         OR position(convert_to('"machine_id":"' || %(machine_id)s || '"', 'UTF8') IN value) > 0
         OR position(convert_to('"machine_id": "' || %(machine_id)s || '"', 'UTF8') IN value) > 0)
"""
_SIZE = "coalesce(sum(octet_length(key)), 0)::bigint + coalesce(sum(octet_length(value)), 0)::bigint"
_LETTER = """
SELECT id, topic, kafka_partition, kafka_offset, appended_at, received_at, reason, detail,
       octet_length(key) AS key_bytes, octet_length(value) AS value_bytes, replayed_at
FROM dead_letter
"""
# ruff: noqa: S608  # every part is a constant of this file
_SUMMARISE = f"""
SELECT reason, count(*) FILTER (WHERE replayed_at IS NULL) AS waiting, count(replayed_at) AS replayed,
       max(received_at) AS newest_at, {_SIZE} AS body_bytes
FROM dead_letter WHERE {_CHOSEN} GROUP BY reason ORDER BY waiting DESC, reason
"""
_NEWEST = f"""
{_LETTER} WHERE {_CHOSEN} AND (%(before_id)s::bigint IS NULL OR id < %(before_id)s) ORDER BY id DESC LIMIT %(limit)s
"""
_AMOUNT = f"""
SELECT count(*) AS letters, {_SIZE} AS body_bytes, coalesce(max(id), 0) AS newest_id FROM dead_letter WHERE {_CHOSEN}
"""
_IDS = f"""
SELECT id FROM dead_letter WHERE {_CHOSEN} AND id > %(after)s AND id <= %(up_to)s ORDER BY id LIMIT %(limit)s
"""
_MISSING = (
    "SELECT id FROM unnest(%s::bigint[]) AS w (id) WHERE id NOT IN (SELECT id FROM dead_letter WHERE id = ANY(%s))"
)
# In order of id, so that two replays wait for each other; the second then finds the rows replayed.
_LOCK = """
SELECT id, reason, detail, key, value FROM dead_letter
WHERE id = ANY(%s) AND replayed_at IS NULL ORDER BY id FOR UPDATE
"""
_CHANGE = """
UPDATE dead_letter d SET reason = c.reason, detail = c.detail
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS c (id, reason, detail)
WHERE d.id = c.id AND (d.reason, d.detail) IS DISTINCT FROM (c.reason, c.detail)
"""


def summarise(conn: Connection, choice: Choice) -> list[Group]:
    with conn.cursor(row_factory=class_row(Group)) as cursor:
        return cursor.execute(_SUMMARISE, asdict(choice)).fetchall()


def newest_letters(conn: Connection, choice: Choice, limit: int, before_id: int | None = None) -> list[Letter]:
    """Newest id first. For the next page, `before_id` is the last id of this one."""
    with conn.cursor(row_factory=class_row(Letter)) as cursor:
        return cursor.execute(_NEWEST, {**asdict(choice), "before_id": before_id, "limit": limit}).fetchall()


def read_bodies(conn: Connection, letter_id: int) -> tuple[bytes | None, bytes | None]:
    """Key and value."""
    row = conn.execute("SELECT key, value FROM dead_letter WHERE id = %s", [letter_id]).fetchone()
    return (row[0], row[1]) if row else (None, None)


def amount_of(conn: Connection, choice: Choice) -> Amount:
    with conn.cursor(row_factory=class_row(Amount)) as cursor:
        return cursor.execute(_AMOUNT, asdict(choice)).fetchall()[0]


def missing_ids(conn: Connection, ids: Sequence[int]) -> list[int]:
    return sorted(id_ for (id_,) in conn.execute(_MISSING, [list(ids), list(ids)]))


def next_ids(conn: Connection, choice: Choice, *, after: int, up_to: int, limit: int) -> list[int]:
    """Ascending."""
    slice_ = {"after": after, "up_to": up_to, "limit": limit}
    return [id_ for (id_,) in conn.execute(_IDS, {**asdict(choice), **slice_})]


def lock_waiting(conn: Connection, ids: Sequence[int]) -> list[Body]:
    """Those of `ids` that are there and not replayed, in order of id, held until the transaction ends."""
    with conn.cursor(row_factory=class_row(Body)) as cursor:
        return cursor.execute(_LOCK, [list(ids)]).fetchall()


def mark_replayed(conn: Connection, ids: Sequence[int]) -> None:
    conn.execute("UPDATE dead_letter SET replayed_at = now() WHERE id = ANY(%s)", [list(ids)])


def change_reasons(conn: Connection, changes: Sequence[tuple[int, RejectReason, str]]) -> None:
    """Each an id, and the reason and detail that it has now."""
    if changes:
        conn.execute(_CHANGE, [list(column) for column in zip(*changes, strict=True)])


def delete_letters(conn: Connection, ids: Sequence[int]) -> int:
    """How many were still there."""
    return conn.execute("DELETE FROM dead_letter WHERE id = ANY(%s)", [list(ids)]).rowcount
