"""What every role's HTTP shell promises: honest health, problem documents, and no open door beyond loopback."""

import asyncio
import base64

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pdm.config import HttpSettings
from pdm.errors import Misconfigured, Retryable
from pdm.http import Checks, Health, make_http_app
from pdm.problems import Problem


async def well() -> Health:
    return Health(True, "fine")


async def away() -> Health:
    raise Retryable("PostgreSQL: connection refused")


async def stuck() -> Health:
    await asyncio.Event().wait()
    raise AssertionError


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)


def test_ready_says_which_check_failed_and_why() -> None:
    app = make_http_app("ingestor", HttpSettings(), Checks(ready={"kafka": well, "database": away}))
    answer = client_of(app).get("/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "checks": {
            "kafka": {"ok": True, "detail": "fine"},
            "database": {"ok": False, "detail": "PostgreSQL: connection refused"},
        },
    }


def test_a_check_that_hangs_is_unready_not_unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdm.http.CHECK_TIMEOUT_S", 0.01)
    app = make_http_app("ingestor", HttpSettings(), Checks(ready={"database": stuck}))
    assert "no answer within" in client_of(app).get("/health/ready").json()["checks"]["database"]["detail"]


def test_a_role_without_checks_is_live() -> None:
    assert client_of(make_http_app("portal", HttpSettings(), Checks())).get("/health/live").json()["status"] == "live"


def test_beyond_loopback_a_role_without_a_key_refuses_to_start() -> None:
    with pytest.raises(Misconfigured, match="without an API key"):
        make_http_app("portal", HttpSettings(host="0.0.0.0"), Checks())


def guarded() -> TestClient:
    app = make_http_app("portal", HttpSettings(host="0.0.0.0", api_key=SecretStr("s3cret")), Checks())

    @app.get("/thing")
    def thing() -> str:
        return "here"

    return client_of(app)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "s3cret"},
        {"Authorization": "Bearer s3cret"},
        {"Authorization": "Basic " + base64.b64encode(b"anyone:s3cret").decode()},
    ],
)
def test_the_key_opens(headers: dict[str, str]) -> None:
    assert guarded().get("/thing", headers=headers).json() == "here"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": "guess"}, {"X-API-Key": ""}, {"Authorization": "Basic ===="}, {"Authorization": "Bearer"}],
)
def test_anything_else_does_not_open(headers: dict[str, str]) -> None:
    answer = guarded().get("/thing", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize(("path", "status"), [("/health/live", 200), ("/health/ready", 200), ("/metrics", 401)])
def test_probes_need_no_key_and_metrics_do(path: str, status: int) -> None:
    assert guarded().get(path).status_code == status


def test_errors_are_problem_documents_without_a_trace() -> None:
    app = make_http_app("portal", HttpSettings(), Checks())

    @app.get("/taken")
    def taken() -> None:
        raise Problem(409, "Taken.", hint="Try another.", owner="kim")

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    @app.get("/number")
    def number(n: int) -> int:
        return n

    client = client_of(app)
    assert client.get("/taken").json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "Taken.",
        "hint": "Try another.",
        "owner": "kim",
    }
    broken_answer = client.get("/broken")
    assert broken_answer.status_code == 500
    assert "secret" not in broken_answer.text
    invalid = client.get("/number", params={"n": "x"})
    assert invalid.status_code == 422
    assert invalid.json()["errors"][0]["where"] == "query.n"
    assert client.get("/nowhere").headers["content-type"] == "application/problem+json"
