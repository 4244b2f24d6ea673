"""The server-rendered pages and their static files. Owns the first paint; live updates are the scripts'."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import pdm
from pdm import physics
from pdm.errors import Retryable
from pdm.portal.fleet import Fleet
from pdm.portal.page_texts import PAGE_TEXTS, choose_locale
from pdm.portal.status import STATES, worst_first
from pdm.portal.texts import LOCALES, Locale
from pdm.store.alerts import Alert, AlertFilter, alerts_page
from pdm.store.event_log import log_span
from pdm.store.pool import Pool, transaction

ACTIVE_SHOWN = 200
RECENT_SHOWN = 12
COOKIE_AGE_S = 365 * 24 * 3600
SCALES: Mapping[str, float] = {  # where the bars end, and where their limits stand
    "torque_max": 100.0,
    "torque_limit": physics.MEAN_TORQUE_LIMIT_NM,
    "wear_max": 260.0,
    "wear_limit": physics.TOOL_END_FROM_MIN,
}
_SECURITY_HEADERS = {
    b"content-security-policy": b"default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self';"
    b" connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


@dataclass(frozen=True, slots=True)
class Overview:
    """The alerts beside the fleet, and the id in the event log that they are up to date with."""

    last_id: int
    active: list[Alert]
    recent: list[Alert]


class Static(StaticFiles):
    """The files beside this module. A browser asks each time whether its copy is still good: scripts must match."""

    def __init__(self) -> None:
        super().__init__(directory=Path(__file__).parent / "static")

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def page_routes(fleet: Fleet, ai: Pool, default_locale: Locale) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def answer(request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        locale = choose_locale(
            request.query_params.get("lang"),
            request.cookies.get("lang"),
            request.headers.get("accept-language", ""),
            default_locale,
        )
        html = render(template, locale, request.cookies.get("theme", ""), **shown)
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        if request.query_params.get("lang") == locale:
            response.set_cookie("lang", locale, max_age=COOKIE_AGE_S, samesite="lax")
        return response

    @router.get("/")
    async def show_fleet(request: Request) -> Response:
        try:
            overview = await run_in_threadpool(_overview, ai)
            machines = worst_first(await fleet.everything())
        except Retryable as error:
            return answer(request, "away.html", 503, error=error)
        counts = {state: sum(machine.state == state for machine in machines) for state in STATES}
        now = datetime.now(UTC)
        return answer(
            request, "fleet.html", machines=machines, counts=counts, overview=overview, scales=SCALES, now=now
        )

    @router.get("/parts/alerts")
    async def show_alerts(request: Request) -> Response:
        """The panel again, when an event says that it changed."""
        return answer(request, "alerts.html", overview=await run_in_threadpool(_overview, ai))

    @router.get("/parts/machines")
    async def show_machines(request: Request) -> Response:
        """The rows again, when a machine appears that the page does not know."""
        machines = worst_first(await fleet.everything())
        return answer(request, "machines.html", machines=machines, scales=SCALES)

    return router


def _overview(ai: Pool) -> Overview:
    with transaction(ai) as conn:
        last_id = log_span(conn).newest  # first: what happens after it comes through the feed, seen twice or not
        active = alerts_page(conn, AlertFilter(active=True, is_fleet=True), ACTIVE_SHOWN)
        recent = alerts_page(conn, AlertFilter(active=False, is_fleet=True), RECENT_SHOWN)
    return Overview(last_id, active, recent)


def render(template: str, locale: Locale, theme: str, **shown: Any) -> str:
    """`theme`: light, dark, or anything else for what the reader's system prefers."""
    return (
        _environment()
        .get_template(template)
        .render(t=PAGE_TEXTS[locale], locale=locale, locales=LOCALES, theme=theme, version=pdm.__version__, **shown)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pdm.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, iso=_iso)
    return environment


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds")


class SecurityHeaders:
    """ASGI middleware: every answer forbids what the pages never need."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_SECURITY_HEADERS.items()]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
