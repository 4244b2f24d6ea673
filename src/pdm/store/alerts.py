"""Episodes as people look at them: `anomaly_history`, each with what the portal knows of it. Reads only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from pdm.events import VERIFY_PREFIX
from pdm.store.pool import Connection

_ALERTS = sql.SQL("""
    SELECT h.episode_id, h.machine_id, h.seq, h.failure_type, h.failure_types, h.severity,
        h.closed_at IS NULL AS active, h.opened_at, h.detected_at, h.last_seen_at, h.closed_at, h.close_reason,
        h.score, h.reasons, h.model_version, h.source,
        a.episode_id IS NOT NULL AS received, a.received_at, a.seq AS received_seq
    FROM anomaly_history h LEFT JOIN portal.alert a USING (episode_id)
    WHERE {conditions} ORDER BY h.opened_at DESC, h.episode_id LIMIT {limit}
""")
_CONDITIONS = {
    "machine_id": sql.SQL("h.machine_id = %(machine_id)s"),
    "active": sql.SQL("(h.closed_at IS NULL) = %(active)s"),
    "severity": sql.SQL("h.severity = %(severity)s"),
    "failure_type": sql.SQL("h.failure_type = %(failure_type)s"),
    "episode_id": sql.SQL("h.episode_id = %(episode_id)s"),
    "is_fleet": sql.SQL("starts_with(h.machine_id, %(verify_prefix)s) <> %(is_fleet)s"),
    "after": sql.SQL(
        "h.opened_at <= %(after_opened_at)s"
        " AND (h.opened_at < %(after_opened_at)s OR h.episode_id > %(after_episode_id)s)"
    ),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One episode. `received` is false until the first of its events has come through the relay to the portal."""

    episode_id: UUID
    machine_id: str
    seq: int
    failure_type: str
    failure_types: list[str]
    severity: str
    active: bool
    opened_at: datetime
    detected_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    score: float
    reasons: list[str]
    model_version: str | None
    source: str
    received: bool
    received_at: datetime | None
    received_seq: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the newest transition of an episode was decided on."""

    reading: dict[str, Any]
    features: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AlertNotification:
    """One message about an episode. `state`: pending, sent, dropped or failed; `detail` says why not sent."""

    seq: int
    channel: str
    state: str
    attempts: int
    message: str | None
    detail: str | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """None: any. `after`: opened_at and episode_id of the last alert of the page before.

    `is_fleet`: whether of a machine that belongs to the fleet, which those of check runs do not.
    """

    machine_id: str | None = None
    active: bool | None = None
    severity: str | None = None
    failure_type: str | None = None
    is_fleet: bool | None = None
    after: tuple[datetime, UUID] | None = None


def alerts_page(conn: Connection, wanted: AlertFilter, limit: int) -> list[Alert]:
    """Newest opening first."""
    given = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    return _select(conn, {name: value for name, value in given.items() if value is not None}, limit)


def find_alert(conn: Connection, episode_id: UUID) -> Alert | None:
    return next(iter(_select(conn, {"episode_id": episode_id}, 1)), None)


def alert_evidence(conn: Connection, episode_id: UUID) -> Evidence | None:
    row = conn.execute("SELECT reading, features FROM anomaly_history WHERE episode_id = %s", [episode_id]).fetchone()
    return Evidence(*row) if row else None


def alert_notifications(conn: Connection, episode_id: UUID) -> list[AlertNotification]:
    """In the order of the episode's events."""
    rows = conn.execute(
        "SELECT seq, channel, state, attempts, message, detail, settled_at FROM portal.notification"
        " WHERE episode_id = %s ORDER BY seq, channel",
        [episode_id],
    )
    return [AlertNotification(*row) for row in rows]


def _select(conn: Connection, given: Mapping[str, object], limit: int) -> list[Alert]:
    conditions = [condition for name, condition in _CONDITIONS.items() if name in given] or [sql.SQL("true")]
    query = _ALERTS.format(conditions=sql.SQL(" AND ").join(conditions), limit=sql.Literal(limit))
    values: dict[str, Any] = {**given, "verify_prefix": VERIFY_PREFIX}
    if "after" in given:
        values["after_opened_at"], values["after_episode_id"] = values.pop("after")
    with conn.cursor(row_factory=class_row(Alert)) as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()
