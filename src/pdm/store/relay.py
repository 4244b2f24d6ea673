"""The database's end of the relay: probe rows, the slot and the publication that Debezium reads."""

from dataclasses import dataclass

from pdm.config import PROBE_TOPIC
from pdm.store.pool import Connection

_INSERT_PROBE = """
INSERT INTO outbox (topic_name, msg_key, message_payload) VALUES (%s, 'probe', clock_timestamp()::text) RETURNING id
"""
_SLOT = """
SELECT active, coalesce(wal_status, 'unreserved'),
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)
FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()
"""
_OF_EPISODE = """
SELECT id, msg_key, message_payload FROM outbox
WHERE topic_name = 'anomaly-alerts' AND msg_key = %s AND message_payload::jsonb ->> 'episode_id' = %s
ORDER BY created_at
"""
_PUBLISHED = "SELECT tablename FROM pg_publication_tables WHERE pubname = %s ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Slot:
    """`wal_status` is reserved, extended, unreserved (also while it is being made) or lost: WAL it needs is gone."""

    is_active: bool
    wal_status: str
    behind_bytes: int


@dataclass(frozen=True, slots=True)
class OutboxRow:
    id: str
    key: str
    payload: str


def insert_probe(conn: Connection) -> str:
    """Put a probe row into the outbox; return its id, which comes back as the header `id` of its record."""
    (row,) = conn.execute(_INSERT_PROBE, [PROBE_TOPIC])
    return str(row[0])


def find_slot(conn: Connection, name: str) -> Slot | None:
    row = conn.execute(_SLOT, [name]).fetchone()
    return Slot(bool(row[0]), row[1], int(row[2])) if row else None


def drop_lost_slot(conn: Connection, name: str) -> bool:
    """Drop it if it is lost and nobody reads it. Needs no more than the portal's rights."""
    (row,) = conn.execute("SELECT portal.drop_lost_slot(%s)", [name])
    return bool(row[0])


def wal_level(conn: Connection) -> str:
    (row,) = conn.execute("SHOW wal_level")
    return str(row[0])


def published_tables(conn: Connection, publication: str) -> list[str]:
    return [row[0] for row in conn.execute(_PUBLISHED, [publication])]


def outbox_rows(conn: Connection, machine_id: str, episode_id: str) -> list[OutboxRow]:
    """The events of one episode on their way out, oldest first."""
    return [OutboxRow(str(row[0]), row[1], row[2]) for row in conn.execute(_OF_EPISODE, [machine_id, episode_id])]
