"""What the audit reads of the ai database: the whole alert chain, as it stood at one moment. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pdm.store.pool import Connection

_EPISODES = """
SELECT episode_id, machine_id, seq, severity, opened_at, detected_at, closed_at FROM anomaly_history
WHERE starts_with(machine_id, %(prefix)s) ORDER BY opened_at, episode_id
"""
_OUTBOX = """
SELECT id, msg_key, message_payload, created_at FROM outbox
WHERE topic_name = 'anomaly-alerts' AND starts_with(msg_key, %(prefix)s) ORDER BY created_at, id
"""
_INBOX = "SELECT event_id FROM portal.inbox"
_ALERTS = "SELECT episode_id, seq FROM portal.alert WHERE starts_with(machine_id, %(prefix)s)"
_NOTIFICATIONS = """
SELECT n.event_id, n.episode_id, n.seq, n.channel, n.state, coalesce(n.detail, '') FROM portal.notification n
WHERE starts_with(n.event ->> 'machine_id', %(prefix)s)
"""


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    episode_id: UUID
    machine_id: str
    seq: int
    severity: str
    opened_at: datetime
    detected_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An outbox row on its way to `anomaly-alerts`."""

    id: UUID
    key: str
    payload: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """A notification row."""

    event_id: UUID
    episode_id: UUID
    seq: int
    channel: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Every table that an alert passes, at the moment `taken_at` of the database's clock."""

    taken_at: datetime
    episodes: Sequence[EpisodeRow]
    outbox: Sequence[Outgoing]
    inbox: frozenset[UUID]
    alerts: dict[UUID, int]  # newest seq that the portal knows
    notifications: Sequence[Told]


def read_chain(conn: Connection, prefix: str) -> Chain:
    """One snapshot, so that no table is ahead of another. Needs an autocommit connection."""
    given = {"prefix": prefix}
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        (now,) = conn.execute("SELECT now()").fetchall()
        return Chain(
            taken_at=now[0],
            episodes=[EpisodeRow(*row) for row in conn.execute(_EPISODES, given)],
            outbox=[Outgoing(*row) for row in conn.execute(_OUTBOX, given)],
            inbox=frozenset(row[0] for row in conn.execute(_INBOX)),
            alerts=dict(conn.execute(_ALERTS, given).fetchall()),
            notifications=[Told(*row) for row in conn.execute(_NOTIFICATIONS, given)],
        )


def ids_in_outbox(conn: Connection, ids: Sequence[UUID]) -> set[UUID]:
    return {row[0] for row in conn.execute("SELECT id FROM outbox WHERE id = ANY(%s)", [list(ids)])}


def machines_judged(conn: Connection, prefix: str) -> list[str]:
    """Every machine that inference has ever seen a reading of."""
    rows = conn.execute("SELECT machine_id FROM machine WHERE starts_with(machine_id, %s) ORDER BY 1", [prefix])
    return [row[0] for row in rows]


def open_severities(conn: Connection, prefix: str) -> dict[str, str]:
    """Machines with an open episode, and how severe it is."""
    rows = conn.execute(
        "SELECT machine_id, severity FROM anomaly_history WHERE closed_at IS NULL AND starts_with(machine_id, %s)",
        [prefix],
    )
    return dict(rows.fetchall())
