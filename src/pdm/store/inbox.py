"""Alert events taken in exactly once: `portal.inbox` says which are new, `portal.alert` keeps each episode's newest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from pdm.events import AlertEvent
from pdm.store.pool import Connection

_UPSERT_ALERT = """
    INSERT INTO portal.alert AS known (
        episode_id, seq, machine_id, event, failure_type, failure_types, severity, is_active, score, reasons,
        model_version, observed_at, appended_at, detected_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (episode_id) DO UPDATE SET
        seq = excluded.seq, event = excluded.event, failure_type = excluded.failure_type,
        failure_types = excluded.failure_types, severity = excluded.severity, is_active = excluded.is_active,
        score = excluded.score, reasons = excluded.reasons, model_version = excluded.model_version,
        observed_at = excluded.observed_at, appended_at = excluded.appended_at, detected_at = excluded.detected_at,
        updated_at = now()
    WHERE known.seq < excluded.seq
    RETURNING 1
"""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An alert event as it came through the relay. `event_id` is its outbox id, the same at every delivery."""

    event_id: UUID
    event: AlertEvent


def add_to_inbox(conn: Connection, incoming: Sequence[Incoming]) -> list[Incoming]:
    """Remember the ids; return what had not been taken in before, each id once, in the given order."""
    rows = conn.execute(
        "INSERT INTO portal.inbox (event_id) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING RETURNING event_id",
        [list({item.event_id for item in incoming})],
    )
    new = {row[0] for row in rows}
    first = {item.event_id: item for item in reversed(incoming) if item.event_id in new}
    return [first.pop(item.event_id) for item in incoming if item.event_id in first]


def apply_to_alerts(conn: Connection, fresh: Sequence[Incoming]) -> list[Incoming]:
    """Bring each episode's alert up to date; return the events that were newer than what it held."""
    if not fresh:
        return []
    applied = []
    with conn.cursor() as cursor:
        cursor.executemany(_UPSERT_ALERT, [_alert_values(item.event) for item in fresh], returning=True)
        for item, result in zip(fresh, cursor.results(), strict=True):
            if result.rowcount == 1:
                applied.append(item)
    return applied


def prune_inbox(conn: Connection, keep: timedelta) -> int:
    return conn.execute("DELETE FROM portal.inbox WHERE received_at < now() - %s", [keep]).rowcount


def _alert_values(event: AlertEvent) -> tuple[object, ...]:
    return (
        UUID(event.episode_id),
        event.seq,
        event.machine_id,
        event.event,
        event.failure_type,
        event.failure_types,
        event.severity,
        event.event != "cleared",
        event.score,
        Jsonb(event.reasons),
        event.model_version,
        event.timestamp,
        event.appended_at,
        event.detected_at,
    )
