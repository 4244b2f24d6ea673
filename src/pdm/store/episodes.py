"""Episodes and the outbox. `write_change` is the only writer of both, one statement a transition."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import Rollback
from psycopg.types.json import Jsonb

from pdm.config import ALERT_TOPIC
from pdm.events import AlertEvent, encode
from pdm.store.pool import Connection

OUTBOX_KEEP_DAYS = 7

# The machine's row carries the log position of its newest transition. A replay, or an owner that lost its partition,
# stands at or before it: `w` is then empty and nothing is written. The outbox row comes from `c`, so it exists exactly
# when the episode changed. A conflict (an episode of another partition's owner is open, an id is known though its
# watermark is lost) is a refusal too: raised, it would fail the batch at every delivery.
_WATERMARK = """
    w AS (
        UPDATE machine SET changed_appended_at = %(appended_at)s, changed_offset = %(offset)s
        WHERE machine_id = %(machine_id)s AND (changed_appended_at, changed_offset) < (%(appended_at)s, %(offset)s)
        RETURNING 1
    )"""
_OUTBOX = """
    INSERT INTO outbox (id, topic_name, msg_key, message_payload)
    SELECT %(event_id)s, %(topic)s, %(machine_id)s, %(payload)s FROM c ON CONFLICT DO NOTHING"""
_OPEN = f"""
    WITH {_WATERMARK}, c AS (
        INSERT INTO anomaly_history (
            episode_id, machine_id, seq, failure_type, failure_types, severity, opened_at, detected_at, last_seen_at,
            score, reading, features, reasons, model_version, source)
        SELECT %(episode_id)s, %(machine_id)s, %(seq)s, %(failure_type)s, %(failure_types)s, %(severity)s,
            %(timestamp)s, %(detected_at)s, %(last_seen_at)s, %(score)s, %(reading)s, %(features)s, %(reasons)s,
            %(model_version)s, %(source)s
        FROM w ON CONFLICT DO NOTHING RETURNING 1
    ) {_OUTBOX}"""  # noqa: S608  # fixed parts only; values are parameters
_CHANGE = f"""
    WITH {_WATERMARK}, c AS (
        UPDATE anomaly_history SET seq = %(seq)s, failure_type = %(failure_type)s, failure_types = %(failure_types)s,
            severity = %(severity)s, last_seen_at = %(last_seen_at)s, score = %(score)s,
            reading = %(reading)s, features = %(features)s, reasons = %(reasons)s, model_version = %(model_version)s
        FROM w WHERE episode_id = %(episode_id)s AND closed_at IS NULL AND seq = %(seq)s - 1 RETURNING 1
    ) {_OUTBOX}"""  # noqa: S608  # fixed parts only; values are parameters
_CLOSE = f"""
    WITH {_WATERMARK}, c AS (
        UPDATE anomaly_history SET seq = %(seq)s, failure_types = %(failure_types)s, last_seen_at = %(closed_at)s,
            closed_at = %(closed_at)s, close_reason = %(close_reason)s
        FROM w WHERE episode_id = %(episode_id)s AND closed_at IS NULL AND seq = %(seq)s - 1 RETURNING 1
    ) {_OUTBOX}"""  # noqa: S608  # fixed parts only; values are parameters


@dataclass(frozen=True, slots=True)
class EpisodeChange:
    """One transition as it is stored: the event that goes out, and what the row keeps beside it."""

    event: AlertEvent
    event_id: UUID
    offset: int  # of the deciding reading; event.appended_at is its append time
    reading: dict[str, Any]
    features: dict[str, float | None]
    last_seen_at: datetime
    closed_at: datetime | None = None
    close_reason: Literal["cleared", "gap"] | None = None
    source: Literal["live", "backfill", "verify"] = "live"


@dataclass(frozen=True, slots=True)
class StoredMachine:
    """What the database knows of a machine's newest transition, and its open episode if there is one."""

    machine_id: str
    changed_appended_at: datetime | None  # None before the first transition
    changed_offset: int
    episode_id: UUID | None
    seq: int | None
    failure_types: list[str] | None
    severity: str | None
    opened_at: datetime | None
    last_seen_at: datetime | None
    reading: dict[str, Any] | None  # of the episode's newest transition


@dataclass(frozen=True, slots=True)
class Touch:
    """What an open episode's row is told between transitions."""

    episode_id: UUID
    seq: int
    last_seen_at: datetime
    failure_types: Sequence[str]


def write_change(conn: Connection, change: EpisodeChange) -> bool:
    """Apply one transition and put its event into the outbox. False: it was refused, and nothing at all was written."""
    with conn.transaction() as savepoint:  # a refusal must not leave the watermark moved
        if conn.execute(_statement(change), _parameters(change)).rowcount == 1:
            return True
        raise Rollback(savepoint)
    return False


def _statement(change: EpisodeChange) -> str:
    if change.event.event == "opened":
        return _OPEN
    return _CHANGE if change.closed_at is None else _CLOSE


def _parameters(change: EpisodeChange) -> dict[str, Any]:
    event = change.event
    return {
        "appended_at": event.appended_at,
        "offset": change.offset,
        "machine_id": event.machine_id,
        "event_id": change.event_id,
        "topic": ALERT_TOPIC,
        "payload": encode(event).decode(),
        "episode_id": UUID(event.episode_id),
        "seq": event.seq,
        "failure_type": event.failure_type,
        "failure_types": event.failure_types,
        "severity": event.severity,
        "timestamp": event.timestamp,
        "detected_at": event.detected_at,
        "last_seen_at": change.last_seen_at,
        "score": event.score,
        "reading": Jsonb(change.reading),
        "features": Jsonb(change.features),
        "reasons": Jsonb(event.reasons),
        "model_version": event.model_version,
        "closed_at": change.closed_at,
        "close_reason": change.close_reason,
        "source": change.source,
    }


def add_machines(conn: Connection, machines: Mapping[str, str | None]) -> None:
    """Make known the machines (id: product type) that are not yet; in id order, so that two owners never deadlock."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO machine (machine_id, product_type) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            sorted(machines.items()),
        )


def load_machines(conn: Connection, machine_ids: Sequence[str]) -> list[StoredMachine]:
    """The machines among `machine_ids` that the database knows."""
    rows = conn.execute(
        """
        SELECT m.machine_id, nullif(m.changed_appended_at, '-infinity'), m.changed_offset,
            a.episode_id, a.seq, a.failure_types, a.severity, a.opened_at, a.last_seen_at,
            a.reading
        FROM machine m LEFT JOIN anomaly_history a ON a.machine_id = m.machine_id AND a.closed_at IS NULL
        WHERE m.machine_id = ANY(%s)
        """,
        [list(machine_ids)],
    )
    return [StoredMachine(*row) for row in rows]


def touch_episodes(conn: Connection, touches: Iterable[Touch]) -> None:
    """Note where open episodes stand; in id order. `last_seen_at` follows a machine's clock back as well; types only
    grow, so that an owner who lost its partition and lags behind takes none away.
    """
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE anomaly_history SET last_seen_at = %(seen_at)s,"
            " failure_types = CASE WHEN failure_types <@ %(types)s::text[] THEN %(types)s ELSE failure_types END"
            " WHERE episode_id = %(id)s AND seq = %(seq)s AND closed_at IS NULL",
            [
                {
                    "seen_at": touch.last_seen_at,
                    "types": list(touch.failure_types),
                    "id": touch.episode_id,
                    "seq": touch.seq,
                }
                for touch in sorted(touches, key=lambda touch: touch.episode_id)
            ],
        )
