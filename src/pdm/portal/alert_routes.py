"""`/api/alerts…`: every episode that was detected, with what the portal knows of it. Reads only."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from pdm.events import FailureType, Severity
from pdm.portal import examples
from pdm.portal.machine_routes import ID_PATTERN, Cursor, Limit
from pdm.portal.paging import AlertCursor, decode_cursor, encode_cursor
from pdm.problems import Problem, problem_responses
from pdm.store.alerts import (
    Alert,
    AlertFilter,
    AlertNotification,
    Evidence,
    alert_evidence,
    alert_notifications,
    alerts_page,
    find_alert,
)
from pdm.store.pool import Pool, transaction


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Newest opening first. `next` leads to older ones."""

    alerts: list[Alert]
    next: str | None


@dataclass(frozen=True, slots=True)
class AlertDetail:
    """One episode, the reading and the window that its newest transition was decided on, and who was told."""

    alert: Alert
    evidence: Evidence
    notifications: list[AlertNotification]


def alert_routes(ai: Pool) -> APIRouter:
    router = APIRouter(
        prefix="/api/alerts",
        tags=["alerts"],
        responses=problem_responses(_422="A parameter is wrong.", _503="The database is away."),
    )

    @router.get("", responses=examples.ok(examples.ALERTS))
    def list_alerts(
        machine_id: Annotated[str | None, Query(pattern=ID_PATTERN)] = None,
        active: bool | None = None,
        severity: Severity | None = None,
        failure_type: FailureType | None = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> AlertPage:
        """Every detected episode. `received` is false while the relay has not brought it to the portal."""
        at = decode_cursor(cursor, AlertCursor) if cursor else None
        after = (at.opened_at, at.episode_id) if at else None
        wanted = AlertFilter(machine_id, active, severity, failure_type, after=after)
        with transaction(ai) as conn:
            alerts = alerts_page(conn, wanted, limit)
        return AlertPage(alerts, _next(alerts[-1]) if len(alerts) == limit else None)

    @router.get("/{episode_id}", responses={**examples.ok(examples.ALERT), **problem_responses(_404="No such alert.")})
    def show_alert(episode_id: UUID) -> AlertDetail:
        """One episode with its evidence and its notifications."""
        with transaction(ai) as conn:
            alert, evidence = find_alert(conn, episode_id), alert_evidence(conn, episode_id)
            if alert is None or evidence is None:
                raise Problem(404, f"No alert {episode_id}.", hint="GET /api/alerts lists them.")
            return AlertDetail(alert, evidence, alert_notifications(conn, episode_id))

    return router


def _next(last: Alert) -> str:
    return encode_cursor(AlertCursor(last.opened_at, last.episode_id))
