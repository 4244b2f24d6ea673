"""What no route of any role ever sees: too much, too slow, unreadable, from a foreign page."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pdm import doors, server
from pdm.config import HttpSettings
from pdm.http import Checks, make_http_app
from pdm.server import make_server

HERE = "http://127.0.0.1"
JSON = {"Content-Type": "application/json"}


def make_app(key: str | None = None) -> FastAPI:
    app = make_http_app("portal", HttpSettings(api_key=SecretStr(key) if key else None), Checks())

    @app.get("/thing")
    async def thing() -> str:
        return "here"

    @app.post("/thing")
    async def take(request: Request) -> int:
        return len(await request.body())

    @app.post("/document")
    async def document(body: dict[str, Any]) -> int:
        return len(body)

    return app


def client_of(app: FastAPI, url: str = HERE) -> TestClient:
    return TestClient(app, url, raise_server_exceptions=False)


def problem(answer: httpx.Response | Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("POST", "/thing", {"content": b"x" * (doors.MAX_BODY_BYTES + 1)}, 413),
        ("GET", "/thing", {"content": b"x"}, 400),
        ("GET", "/thing?a=" + "a" * doors.MAX_ADDRESS_BYTES, {}, 414),
        ("GET", "/" + "a" * doors.MAX_ADDRESS_BYTES, {}, 414),
        ("GET", "/thing", {"headers": {"X-Much": "a" * doors.MAX_HEADERS_BYTES}}, 431),
        ("GET", "/thing%00", {}, 400),
        ("GET", "/thing?a=%00", {}, 400),
        ("GET", "/thing%ff", {}, 400),
        ("GET", "/thing?a=%ed%a0%80", {}, 400),
        ("POST", "/document", {"content": b"[" * 100_000, "headers": JSON}, 400),
        ("POST", "/document", {"content": b"\xff", "headers": JSON}, 400),
        ("POST", "/document", {"content": b'["\\ud800"]', "headers": JSON}, 422),
        ("PUT", "/thing", {}, 405),
    ],
)
def test_what_is_too_much_or_unreadable_is_a_problem_document(
    method: str, path: str, more: dict[str, Any], status: int
) -> None:
    assert problem(client_of(make_app()).request(method, path, **more), status)


def test_a_method_that_a_route_does_not_have_is_answered_with_those_it_has() -> None:
    assert client_of(make_app()).put("/document").headers["allow"] == "POST"


def test_a_body_of_untold_length_is_cut_off_at_the_limit() -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        while sum(sent) < 3 * doors.MAX_BODY_BYTES:
            sent.append(64 * 1024)
            yield b" " * 64 * 1024

    assert "1,048,576 bytes" in problem(client_of(make_app()).post("/document", content=endless()), 413)


def test_the_largest_body_passes() -> None:
    assert client_of(make_app()).post("/thing", content=b"x" * doors.MAX_BODY_BYTES).json() == doors.MAX_BODY_BYTES


@pytest.mark.parametrize(
    "url", ["http://evil.example", "http://evil.example:8001", "http://0.0.0.0", "http://10.1.2.3"]
)
def test_without_a_key_a_name_that_leads_elsewhere_is_not_answered(url: str) -> None:
    """A page of evil.example may make its own name lead to 127.0.0.1 and would then read everything."""
    assert "127.0.0.1" in problem(client_of(make_app(), url).get("/metrics"), 421)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000", "http://127.0.0.1:1", "http://127.8.8.8", "http://[::1]:8000"]
)
def test_every_name_of_this_machine_is_answered(url: str) -> None:
    assert client_of(make_app(), url).get("/thing").status_code == 200


def test_with_a_key_any_name_is_answered() -> None:
    client = client_of(make_app("s3cret"), "http://portal.plant.example")
    assert client.get("/thing", headers={"X-API-Key": "s3cret"}).status_code == 200


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8000"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin", "Origin": HERE},
    {"Sec-Fetch-Site": "none"},
    {"Origin": HERE},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("key", [None, "s3cret"])  # a browser sends Basic credentials by itself
def test_a_page_of_another_site_changes_nothing(headers: dict[str, str], key: str | None) -> None:
    client = client_of(make_app(key))
    given = {**headers, "X-API-Key": key or ""}
    assert "another site" in problem(client.post("/thing", headers=given), 403)
    assert client.get("/thing", headers=given).status_code == 200


@pytest.mark.parametrize("headers", OWN)
def test_programs_and_own_pages_pass(headers: dict[str, str]) -> None:
    assert client_of(make_app()).post("/thing", headers=headers).status_code == 200


def test_every_route_says_in_openapi_what_the_doors_answer() -> None:
    document = client_of(make_app("k")).get("/openapi.json", headers={"X-API-Key": "k"}).json()
    assert "Problem" in document["components"]["schemas"]
    for path, routes in document["paths"].items():
        for method, route in routes.items():
            missing = {"401", *map(str, doors.ANSWERS)} - set(route["responses"])
            assert missing == set(), f"{method} {path}"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A real server with little patience."""
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(doors, "BODY_TIMEOUT_S", 0.3)
    with serving() as number:
        yield number


@contextmanager
def serving() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    running = make_server(make_app(), "127.0.0.1", number)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    while not running.started:
        assert thread.is_alive()
    try:
        yield number
    finally:
        running.should_exit = True
        thread.join(10)


def talk(port: int, *parts: bytes) -> bytes:
    """Send the parts and read until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    return answer


def test_a_caller_that_never_ends_its_head_is_let_go(port: int) -> None:
    assert talk(port, b"GET /thing HTTP/1.1\r\nHost: 127.0.0.1\r\nX-") == b""
    assert talk(port) == b""


def test_a_body_that_never_ends_is_answered_408_and_let_go(port: int) -> None:
    head = b"POST /document HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    assert talk(port, head, b"{").startswith(b"HTTP/1.1 408 ")


def test_the_rest_of_a_refused_body_is_not_waited_for(port: int) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
    assert talk(port, head, b"{").startswith(b"HTTP/1.1 404 ")


def test_an_endless_head_is_refused(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        connection.sendall(b"GET /thing HTTP/1.1\r\nX: " + b"x" * server.MAX_HEAD_BYTES + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_beyond_the_connections_that_fit_the_answer_is_503_until_some_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    with serving() as port:
        with ExitStack() as idle:
            for _ in range(4):
                idle.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
            assert httpx.get(f"{HERE}:{port}/thing").status_code == 503
        until_s = time.monotonic() + 10
        while httpx.get(f"{HERE}:{port}/thing").status_code != 200:
            assert time.monotonic() < until_s
