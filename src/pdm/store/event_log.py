"""`portal.event_log`: what live pages follow. Ids commit in order: whoever asks for `id > last` misses nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from pdm.store import locks
from pdm.store.pool import Connection


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    id: int
    kind: str
    payload: str  # JSON


@dataclass(frozen=True, slots=True)
class LogSpan:
    """The ids that the log still holds; both 0 while nothing was ever written."""

    oldest: int
    newest: int

    def can_resume_after(self, last_id: int) -> bool:
        """False when events after `last_id` may be gone, or when `last_id` is of another log."""
        return self.oldest - 1 <= last_id <= self.newest


def lock_event_log(conn: Connection) -> None:
    """Wait for the other writers, until the end of the transaction. Take it before any other lock."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [locks.EVENT_LOG])


def append_events(conn: Connection, kind: str, payloads: Iterable[str]) -> None:
    """Needs `lock_event_log` in the same transaction."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO portal.event_log (kind, payload) VALUES (%s, %s)", [(kind, payload) for payload in payloads]
        )


def events_after(conn: Connection, last_id: int, limit: int) -> list[LoggedEvent]:
    """Oldest first."""
    rows = conn.execute(
        "SELECT id, kind, payload::text FROM portal.event_log WHERE id > %s ORDER BY id LIMIT %s", [last_id, limit]
    )
    return [LoggedEvent(*row) for row in rows]


def log_span(conn: Connection) -> LogSpan:
    row = conn.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM portal.event_log").fetchone()
    return LogSpan(*row) if row else LogSpan(0, 0)


def prune_event_log(conn: Connection, keep: timedelta) -> int:
    """The newest event stays whatever its age: it tells a returning page whether it missed one."""
    return conn.execute(
        "DELETE FROM portal.event_log WHERE created_at < now() - %s AND id < (SELECT max(id) FROM portal.event_log)",
        [keep],
    ).rowcount
