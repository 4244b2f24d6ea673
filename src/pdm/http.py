"""The HTTP shell of every role: problem documents, API key, health, metrics. Owns no route of a role's own."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import pdm
from pdm.config import HttpSettings, RoleName
from pdm.doors import ANSWERS, Doors, RequireKey, is_loopback
from pdm.errors import BadRecord, Misconfigured, PdmError
from pdm.problems import PROBLEM_SCHEMA, Problem, problem_response, problem_responses

CHECK_TIMEOUT_S = 3.0

HEALTH_SCHEMA: Mapping[str, Any] = {
    "title": "Health",
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"type": "string"},
        "checks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["ok", "detail"],
                "properties": {"ok": {"type": "boolean"}, "detail": {"type": "string"}},
            },
        },
    },
}
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}

log = structlog.get_logger()


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
    app = _App(title=f"pdm {role}", version=pdm.__version__, docs_url=None, redoc_url=None, responses={**ANSWERS})
    _add_problem_handlers(app)
    if settings.api_key is not None:
        app.router.responses |= problem_responses(_401="The API key is missing or wrong.")
        app.add_middleware(RequireKey, key=settings.api_key.get_secret_value())
    _add_health_routes(app, checks)
    app.add_middleware(Doors, is_open=settings.api_key is None)
    return app


class _App(FastAPI):
    """Knows the problem document that the routes' descriptions refer to."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
        return document


def _add_problem_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return error.response()

    @app.exception_handler(PdmError)
    async def on_pdm_error(_: Request, error: PdmError) -> Response:
        status = 422 if isinstance(error, BadRecord) else 503
        return problem_response(status, str(error), **({"hint": error.hint} if error.hint else {}))

    @app.exception_handler(HTTPException)
    async def on_http_error(_: Request, error: HTTPException) -> Response:
        answer = problem_response(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        errors = [{"where": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in error.errors()]
        detail = "; ".join(f"{item['where']}: {item['what']}" for item in errors)
        return problem_response(422, detail, errors=errors)

    @app.exception_handler(Exception)
    async def on_unexpected(request: Request, error: Exception) -> Response:
        log.error("http.unexpected_error", path=request.url.path, exc_info=error)
        return problem_response(500, "An unexpected error; the role's log tells more.")


def _found(what_503_means: str) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": HEALTH_SCHEMA}}
    return {
        200: {"description": "all is well", "content": content},
        503: {"description": what_503_means, "content": content},
    }


def _add_health_routes(app: FastAPI, checks: Checks) -> None:
    @app.get("/health/live", tags=["health"], responses=_found("restart this process"))
    async def live() -> Response:
        return await _run_checks(checks.live, "live")

    @app.get("/health/ready", tags=["health"], responses=_found("cannot do its work now; says why"))
    async def ready() -> Response:
        return await _run_checks(checks.ready, "ready")

    @app.get("/metrics", tags=["health"], response_class=Response, responses=_METRICS)
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
