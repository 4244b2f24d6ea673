"""What the guards of the relay share: one lock, one note of what is under way, and the outbox against the inbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pdm.store import locks
from pdm.store.pool import Connection

UNRELAYED_LIMIT = 1_000

_NOTE = """
SELECT resend_reason, is_stopped_by_us, action, trouble, attempts,
       coalesce(extract(epoch FROM now() - acted_at)::float8, 'infinity'),
       greatest(0, extract(epoch FROM next_at - now()))::float8
FROM portal.relay_care
"""
_NOTE_ACTION = """
UPDATE portal.relay_care
SET action = %s, trouble = %s, attempts = %s, acted_at = now(), next_at = now() + make_interval(secs => %s)
"""
_BEGIN_RESEND = "UPDATE portal.relay_care SET resend_reason = %s, is_stopped_by_us = true"
_END_RESEND = "UPDATE portal.relay_care SET resend_reason = NULL, is_stopped_by_us = false"
_ASK_RESEND = "UPDATE portal.relay_care SET resend_reason = %s WHERE resend_reason IS NULL"
_UNRELAYED = """
SELECT id FROM outbox o
WHERE topic_name = 'anomaly-alerts' AND created_at > %s
  AND NOT EXISTS (SELECT FROM portal.inbox i WHERE i.event_id = o.id)
ORDER BY created_at LIMIT %s
"""
_NOT_TAKEN_IN = """
SELECT id FROM outbox o WHERE id = ANY(%s::uuid[]) AND NOT EXISTS (SELECT FROM portal.inbox i WHERE i.event_id = o.id)
ORDER BY created_at
"""


@dataclass(frozen=True, slots=True)
class CareNote:
    """What guards did last, and whether a re-send is wanted or under way. `wait_s`: before that may be tried again."""

    resend_reason: str | None = None
    is_stopped_by_us: bool = False
    action: str | None = None
    trouble: str | None = None
    attempts: int = 0
    acted_ago_s: float = float("inf")
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Unrelayed:
    """At most UNRELAYED_LIMIT rows, oldest first, all committed before `at` (the database's clock)."""

    ids: tuple[str, ...]
    at: datetime


def try_care_lock(conn: Connection, frozen_after_s: int) -> bool:
    """Whether this connection now is the only guard's. Free again when it is closed, or has idled for that long."""
    conn.execute("SELECT set_config('idle_session_timeout', %s, false)", [f"{frozen_after_s}s"])
    (row,) = conn.execute("SELECT pg_try_advisory_lock(%s)", [locks.RELAY_CARE])
    return bool(row[0])


def read_note(conn: Connection) -> CareNote:
    (row,) = conn.execute(_NOTE)
    return CareNote(*row)


def note_action(conn: Connection, action: str, trouble: str, attempts: int, wait_s: float) -> None:
    conn.execute(_NOTE_ACTION, [action, trouble, attempts, wait_s])


def forget_action(conn: Connection) -> None:
    """It has helped: the next trouble is met at once again."""
    conn.execute("UPDATE portal.relay_care SET attempts = 0, next_at = NULL")


def begin_resend(conn: Connection, reason: str) -> None:
    """Before the connector is stopped: whoever comes after a crash knows that the stop is ours."""
    conn.execute(_BEGIN_RESEND, [reason])


def end_resend(conn: Connection) -> None:
    conn.execute(_END_RESEND)


def ask_resend(conn: Connection, reason: str) -> bool:
    """Have the guard that looks next send the outbox again. False when that is wanted already."""
    return conn.execute(_ASK_RESEND, [reason]).rowcount == 1


def unrelayed_rows(conn: Connection, after: datetime) -> Unrelayed:
    """Alert rows with a later `created_at`, which is the start of their transaction, that the portal has not yet."""
    ids = tuple(str(row[0]) for row in conn.execute(_UNRELAYED, [after, UNRELAYED_LIMIT]))
    ((at,),) = conn.execute("SELECT clock_timestamp()")
    return Unrelayed(ids, at)


def not_taken_in(conn: Connection, ids: Sequence[str]) -> Sequence[str]:
    """Those still in the outbox that the portal still has not, oldest first."""
    return [str(row[0]) for row in conn.execute(_NOT_TAKEN_IN, [list(ids)])]
