"""Notification rows: claimed with a lease by one sender at a time, settled only by the one who still holds it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from pdm.events import AlertEvent, decode_event, encode
from pdm.store.inbox import Incoming
from pdm.store.pool import Connection

# The database's clock alone decides what is due. `is_superseded`: a later page of the same episode exists, `is_open`:
# the episode has not cleared meanwhile.
_CLAIM = """
    WITH due AS (
        SELECT id FROM portal.notification WHERE state = 'pending' AND next_attempt_at <= now()
        ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE portal.notification n SET attempts = attempts + 1, next_attempt_at = now() + %(lease)s
        FROM due WHERE n.id = due.id RETURNING n.*
    )
    SELECT c.id, c.attempts, c.channel, c.event::text, coalesce(a.is_active, true),
        EXISTS (SELECT FROM portal.notification later
                WHERE later.episode_id = c.episode_id AND later.channel = c.channel AND later.seq > c.seq)
    FROM claimed c LEFT JOIN portal.alert a USING (episode_id) ORDER BY c.id
"""

Settled = Literal["sent", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One row in hand. `attempts` is also the proof of the lease: another claim makes it a higher number."""

    id: int
    attempts: int
    channel: str
    event: AlertEvent
    is_open: bool
    is_superseded: bool


def add_notifications(conn: Connection, incoming: Sequence[Incoming], channels: Iterable[str]) -> None:
    """One a channel for each state of an episode, whatever the ids under which it comes."""
    names = tuple(channels)
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO portal.notification (event_id, channel, episode_id, seq, event)"
            " SELECT %(id)s, %(channel)s, %(episode_id)s, %(seq)s, %(event)s WHERE NOT EXISTS ("
            "SELECT FROM portal.notification WHERE episode_id = %(episode_id)s AND seq = %(seq)s"
            " AND channel = %(channel)s) ON CONFLICT DO NOTHING",
            [
                {
                    "id": item.event_id,
                    "channel": name,
                    "episode_id": UUID(item.event.episode_id),
                    "seq": item.event.seq,
                    "event": encode(item.event).decode(),
                }
                for item in incoming
                for name in names
            ],
        )


def claim_notifications(conn: Connection, limit: int, lease: timedelta) -> list[Claim]:
    """Rows that are due, oldest first; nobody else gets them before the lease is over."""
    rows = conn.execute(_CLAIM, {"limit": limit, "lease": lease})
    return [Claim(row[0], row[1], row[2], decode_event(row[3].encode()), row[4], row[5]) for row in rows]


def settle_notification(conn: Connection, claim: Claim, state: Settled, message: str | None, detail: str) -> bool:
    """False: the lease was lost, somebody else settles it."""
    return (
        conn.execute(
            "UPDATE portal.notification SET state = %s, message = %s, detail = %s, settled_at = now()"
            " WHERE id = %s AND attempts = %s AND state = 'pending'",
            [state, message, detail, claim.id, claim.attempts],
        ).rowcount
        == 1
    )


def postpone_notification(conn: Connection, claim: Claim, delay: timedelta, error: str) -> bool:
    """Due again after `delay`. False: the lease was lost."""
    return (
        conn.execute(
            "UPDATE portal.notification SET next_attempt_at = now() + %s, detail = %s"
            " WHERE id = %s AND attempts = %s AND state = 'pending'",
            [delay, error, claim.id, claim.attempts],
        ).rowcount
        == 1
    )


def prune_notifications(conn: Connection, keep: timedelta) -> int:
    """Settled rows only: a pending one is never forgotten."""
    return conn.execute(
        "DELETE FROM portal.notification WHERE state <> 'pending' AND settled_at < now() - %s", [keep]
    ).rowcount
