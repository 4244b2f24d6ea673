"""The HTTP shell of every role: problem documents, API key, health, metrics. Owns no route of a role's own."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

import pdm
from pdm.config import HttpSettings, RoleName
from pdm.errors import BadRecord, Misconfigured, PdmError

CHECK_TIMEOUT_S = 3.0
OPEN_PATHS = ("/health/live", "/health/ready")  # probes carry no key and learn no secret

PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem document",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "example": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "what to do about it"},
    },
}

log = structlog.get_logger()


class Problem(PdmError):
    """An error for the caller of a route, sent as an RFC 9457 problem document. `extra` adds members to it."""

    def __init__(self, status: int, detail: str, *, hint: str = "", **extra: Any) -> None:
        super().__init__(detail, hint=hint)
        self.status = status
        self.extra = extra


@dataclass(frozen=True, slots=True)
class Health:
    """What one check found. `detail` is a short text with numbers, shown to a person."""

    is_ok: bool
    detail: str


Check = Callable[[], Awaitable[Health]]


@dataclass(frozen=True, slots=True)
class Checks:
    """`live` false asks the supervisor for a restart; `ready` false says that this role cannot do its work now."""

    live: Mapping[str, Check] = field(default_factory=dict)
    ready: Mapping[str, Check] = field(default_factory=dict)


def make_http_app(role: RoleName, settings: HttpSettings, checks: Checks) -> FastAPI:
    """Raises Misconfigured when the role would listen beyond loopback without an API key."""
    if settings.api_key is None and not is_loopback(settings.host):
        raise Misconfigured(
            f"{role} would listen on {settings.host} without an API key",
            hint="Set PDM_HTTP__API_KEY, or let PDM_HTTP__HOST be 127.0.0.1.",
        )
    # FastAPI's own documentation pages load scripts from a CDN; /openapi.json says the same.
    app = FastAPI(title=f"pdm {role}", version=pdm.__version__, docs_url=None, redoc_url=None)
    _add_problem_handlers(app)
    _add_health_routes(app, checks)
    if settings.api_key is not None:
        app.add_middleware(RequireKey, key=settings.api_key.get_secret_value())
    return app


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def problem_response(status: int, detail: str, **extra: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **extra}
    return JSONResponse(body, status, media_type="application/problem+json")


def problem_responses(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route, such as `problem_responses(_404="No such machine.")`."""
    content = {"application/problem+json": {"schema": PROBLEM_SCHEMA}}
    return {int(name[1:]): {"description": text, "content": content} for name, text in statuses.items()}


def _add_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        hint = {"hint": error.hint} if error.hint else {}
        return problem_response(error.status, str(error), **hint, **error.extra)

    @app.exception_handler(PdmError)
    async def on_pdm_error(_: Request, error: PdmError) -> Response:
        status = 422 if isinstance(error, BadRecord) else 503
        return problem_response(status, str(error), **({"hint": error.hint} if error.hint else {}))

    @app.exception_handler(HTTPException)
    async def on_http_error(_: Request, error: HTTPException) -> Response:
        return problem_response(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [{"where": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in error.errors()]
        detail = "; ".join(f"{item['where']}: {item['what']}" for item in errors)
        return problem_response(422, detail, errors=errors)

    @app.exception_handler(Exception)
    async def on_unexpected(request: Request, error: Exception) -> Response:
        log.error("http.unexpected_error", path=request.url.path, exc_info=error)
        return problem_response(500, "An unexpected error; the role's log tells more.")


def _add_health_routes(app: FastAPI, checks: Checks) -> None:
    @app.get("/health/live", tags=["health"], responses={503: {"description": "restart this process"}})
    async def live() -> Response:
        return await _run_checks(checks.live, "live")

    @app.get("/health/ready", tags=["health"], responses={503: {"description": "cannot do its work now; says why"}})
    async def ready() -> Response:
        return await _run_checks(checks.ready, "ready")

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _run_checks(checks: Mapping[str, Check], word: str) -> Response:
    found = dict(zip(checks, await asyncio.gather(*map(_bounded, checks.values())), strict=True))
    is_ok = all(health.is_ok for health in found.values())
    body = {
        "status": word if is_ok else f"not {word}",
        "checks": {name: {"ok": health.is_ok, "detail": health.detail} for name, health in found.items()},
    }
    return JSONResponse(body, 200 if is_ok else 503)


async def _bounded(check: Check) -> Health:
    try:
        return await asyncio.wait_for(check(), CHECK_TIMEOUT_S)
    except TimeoutError:
        return Health(False, f"no answer within {CHECK_TIMEOUT_S:g} s")
    except (PdmError, OSError) as error:
        return Health(False, str(error))


class RequireKey:
    """Lets a request pass with the API key, or to the probes. Plain ASGI: a stream of events goes through untouched."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_given(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        answer = problem_response(401, "This route needs the API key.", hint="Send it as X-API-Key or Bearer token.")
        answer.headers["WWW-Authenticate"] = 'Basic realm="pdm", charset="UTF-8"'  # lets a browser ask a person
        await answer(scope, receive, send)

    def _is_given(self, headers: Headers) -> bool:
        return any(hmac.compare_digest(given.encode(), self._key.encode()) for given in _given_keys(headers))


def _given_keys(headers: Headers) -> list[str]:
    """The key from X-API-Key, a Bearer token, or the password of Basic (any user name)."""
    scheme, _, credentials = headers.get("Authorization", "").partition(" ")
    given = [headers.get("X-API-Key", "")]
    if scheme.lower() == "bearer":
        given.append(credentials)
    elif scheme.lower() == "basic":
        try:
            given.append(base64.b64decode(credentials, validate=True).decode().partition(":")[2])
        except (binascii.Error, UnicodeDecodeError):
            log.info("http.malformed_basic_credentials")
    return given
