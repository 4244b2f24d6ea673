"""What is turned away before any route sees it: too much, unreadable, from a foreign page, or without the key."""

import asyncio
import base64
import hmac
import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pdm.problems import Problem, problem_response, problem_responses

MAX_BODY_BYTES = 1024 * 1024  # a call for the most machines that a simulator may run has under 200 KiB
MAX_ADDRESS_BYTES = 8 * 1024  # path and query
MAX_HEADERS_BYTES = 32 * 1024  # a browser sends the cookies of every port of this machine
BODY_TIMEOUT_S = 30.0
OPEN_PATHS = ("/health/live", "/health/ready")  # probes carry no key and learn no secret
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # they change nothing, and no other site can read the answer

ANSWERS: Mapping[int | str, dict[str, Any]] = problem_responses(
    _400="The address or the body cannot be read.",
    _403="A page of another site sent this.",
    _408="The body took too long.",
    _413="The body is too large.",
    _414="Path and query are too long.",
    _421="Without an API key this role answers to the names of this machine only.",
    _422="A parameter is wrong.",
    _431="The headers are too large.",
    _503="An engine is away, or too many connections are open.",
)

log = structlog.get_logger()


class Doors:
    """Answers what may not pass with a problem document. Plain ASGI: a stream of events goes through untouched."""

    def __init__(self, app: ASGIApp, *, is_open: bool) -> None:
        """`is_open`: no key is asked for, so that only the caller's way here tells friend from foe."""
        self._app = app
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive), send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        _check_size(scope, headers)
        _check_text(scope)
        if self._is_open and not is_loopback(_host_name(headers.get("host", ""))):
            raise Problem(
                421,
                "Without an API key this role answers only to 127.0.0.1 and localhost.",
                hint="Ask it by one of these names, or set PDM_HTTP__API_KEY.",
            )
        if scope["method"] not in SAFE_METHODS and _is_foreign(headers):
            raise Problem(403, "A page of another site may not change anything here.", hint="Use the role's own pages.")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_size(scope: Scope, headers: Headers) -> None:
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise Problem(414, f"Path and query are limited to {MAX_ADDRESS_BYTES:,} bytes.")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS_BYTES:
        raise Problem(431, f"The headers are limited to {MAX_HEADERS_BYTES:,} bytes.")
    declared = headers.get("content-length", "0")
    has_body = declared != "0" or "transfer-encoding" in headers
    if has_body and scope["method"] in SAFE_METHODS:
        raise Problem(400, f"{scope['method']} takes no body.")
    if not declared.isdecimal() or int(declared[:20]) > MAX_BODY_BYTES:
        raise Problem(413, f"The body is limited to {MAX_BODY_BYTES:,} bytes.")


def _check_text(scope: Scope) -> None:
    """No engine stores a NUL, and what is no UTF-8 would reach a route as something else than was sent."""
    text = unquote_to_bytes(scope.get("raw_path") or b"") + unquote_to_bytes(scope["query_string"])
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Problem(400, "Path and query must be UTF-8.") from None
    if b"\0" in text:
        raise Problem(400, "Path and query must hold no NUL.")


def _host_name(host: str) -> str:
    """Of a Host header or an Origin's authority, without its port; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_foreign(headers: Headers) -> bool:
    """Browsers name the site that sends; programs name none. An old browser's Origin must be this very address."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _bounded(receive: Receive) -> Receive:
    """The same body, unless it grows too large or comes too slowly: then the route's reading of it ends in an error."""
    is_complete, taken, until_s = False, 0, 0.0

    async def receive_bounded() -> Message:
        nonlocal is_complete, taken, until_s
        if is_complete:
            return await receive()  # waits for the caller to go, be it for hours
        until_s = until_s or asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        try:
            async with asyncio.timeout_at(until_s):
                message = await receive()
        except TimeoutError:
            detail = f"The body did not come within {BODY_TIMEOUT_S:g} s."
            raise HTTPException(408, detail, {"Connection": "close"}) from None
        taken += len(message.get("body", b""))
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body is limited to {MAX_BODY_BYTES:,} bytes.", {"Connection": "close"})
        is_complete = not message.get("more_body", False)
        return message

    return receive_bounded


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
        except ValueError:
            log.info("http.malformed_basic_credentials")
    return given
