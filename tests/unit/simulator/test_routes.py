"""The simulator's HTTP contract: answers, caps and problem documents."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pdm.config import HttpSettings
from pdm.http import Checks, make_http_app
from pdm.simulator.fleet import Caps, Fleet
from pdm.simulator.handler import Time
from pdm.simulator.routes import add_routes
from tests.unit.simulator.conftest import START_S, FakeOutlet


async def sleep_for_ever(_seconds: float) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def fleet(outlet: FakeOutlet) -> Fleet:
    """Its machines send one reading and then time stands still."""
    return Fleet(outlet, Caps(3, 10.0, 0.2), Time(lambda: START_S, sleep_for_ever), draw_seed=lambda: 7)


@pytest.fixture
def app(fleet: Fleet) -> FastAPI:
    app = make_http_app("simulator", HttpSettings(), Checks(ready={"machines": fleet.check_sending}))
    add_routes(app, fleet)
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, "http://127.0.0.1") as client:
        yield client
        client.delete("/simulations")


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


def test_a_started_machine_answers_with_its_state(client: TestClient) -> None:
    answer = client.post("/simulate/machine-001?profile=overstrain&duration_sec=60&seed=5&ramp_s=10&product_type=H")
    assert answer.status_code == 202
    state = answer.json()
    assert state["machine_id"] == "machine-001"
    assert state["state"] == "running"
    assert (state["profile"], state["then"], state["seed"], state["rate_hz"]) == ("overstrain", None, 5, 1.0)
    assert (state["ramp_s"], state["product_type"]) == (10, "H")
    assert client.get("/simulate/machine-001").json()["machine_id"] == "machine-001"


def test_without_anything_said_a_machine_runs_normally_until_stopped(client: TestClient) -> None:
    state = client.post("/simulate/machine-001").json()
    assert (state["profile"], state["ends_at"], state["seed"]) == ("normal", None, 7)


def test_a_running_machine_switches_and_says_where_it_returns_to(client: TestClient) -> None:
    client.post("/simulate/machine-001?rate_hz=2")
    state = client.post("/simulate/machine-001?profile=power&duration_sec=600").json()
    assert (state["profile"], state["then"], state["rate_hz"]) == ("power", "normal", 2.0)


def test_a_stopped_machine_is_gone(client: TestClient) -> None:
    client.post("/simulate/machine-001")
    assert client.delete("/simulate/machine-001").json()["state"] == "stopped"
    assert "not being simulated" in problem(client.get("/simulate/machine-001"), 404)
    problem(client.delete("/simulate/machine-001"), 404)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("profile=melting", "profile"),
        ("duration_sec=0", "duration_sec"),
        ("duration_sec=2592001", "duration_sec"),
        ("rate_hz=0", "rate_hz"),
        ("rate_hz=nan", "rate_hz"),
        ("rate_hz=inf", "outside 0.2 to 10"),
        ("rate_hz=10.1", "outside 0.2 to 10"),
        ("rate_hz=0.19", "outside 0.2 to 10"),
        ("ramp_s=-1", "ramp_s"),
        ("seed=-1", "seed"),
        ("product_type=X", "product_type"),
        ("profil=normal", "profil"),
    ],
)
def test_what_is_outside_the_caps_is_refused(client: TestClient, query: str, told: str) -> None:
    assert told in problem(client.post(f"/simulate/machine-001?{query}"), 422)
    assert client.get("/simulations").json()["items"] == []


@pytest.mark.parametrize("machine_id", ["-x", "a b", "a%0A", "%EC%84%A4%EB%B9%84", "a" * 64])
def test_only_ids_of_the_contract_are_taken(client: TestClient, machine_id: str) -> None:
    assert "no machine id" in problem(client.post(f"/simulate/{machine_id}"), 422)


def test_ids_of_the_check_run_are_refused(client: TestClient) -> None:
    assert "pdm verify" in problem(client.post("/simulate/pdm-verify-001"), 403)


def test_the_seed_of_a_running_machine_is_fixed(client: TestClient) -> None:
    client.post("/simulate/machine-001?seed=1")
    assert "seed" in problem(client.post("/simulate/machine-001?profile=power&seed=2"), 409)
    assert client.get("/simulate/machine-001").json()["profile"] == "normal"


def test_no_more_machines_than_allowed(client: TestClient) -> None:
    assert client.post("/simulations", json=[{"prefix": "machine-", "count": 3}]).status_code == 202
    assert "limit is 3" in problem(client.post("/simulate/machine-004"), 422)
    assert client.post("/simulate/machine-003?profile=power").status_code == 202


def test_many_machines_in_one_call(client: TestClient) -> None:
    asks = [{"prefix": "machine-", "count": 2, "rate_hz": 2}, {"machine_id": "press", "profile": "power"}]
    answer = client.post("/simulations", json=asks)
    assert answer.status_code == 202
    told = [(item["machine_id"], item["profile"], item["rate_hz"]) for item in answer.json()["items"]]
    assert told == [("machine-001", "normal", 2), ("machine-002", "normal", 2), ("press", "power", 1)]


@pytest.mark.parametrize(
    "asks",
    [
        [{"prefix": "machine-", "count": 4}],
        [{"machine_id": "machine-001"}, {"machine_id": "-"}],
        [{"machine_id": "machine-001"}, {"machine_id": "machine-001"}],
        [{"machine_id": "machine-001", "prefix": "machine-"}],
        [],
        [{"profile": "normal"}],
        [{"prefix": "m", "count": 100_000}, {"prefix": "n", "count": 100_000}],
    ],
)
def test_a_refused_call_starts_nothing(client: TestClient, asks: list[dict[str, Any]]) -> None:
    problem(client.post("/simulations", json=asks), 422)
    assert client.get("/simulations").json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "body",
    [
        rb'[{"\ud800": 1}]',  # a lone surrogate stands in the answer, too
        rb'[{"machine_id": "\ud800"}]',
        b'[{"machine_id": "a", "rate_hz": NaN}]',
        b'[{"machine_id": "a", "ramp_s": Infinity}]',
        b'[{"machine_id": "a", "seed": 1e999}]',
    ],
)
def test_what_no_json_of_ours_would_hold_is_refused(client: TestClient, body: bytes) -> None:
    problem(client.post("/simulations", content=body, headers={"Content-Type": "application/json"}), 422)


def test_the_list_is_read_page_by_page(client: TestClient) -> None:
    client.post("/simulations", json=[{"prefix": "machine-", "count": 3}])
    first = client.get("/simulations?limit=2").json()
    assert [item["machine_id"] for item in first["items"]] == ["machine-001", "machine-002"]
    second = client.get("/simulations", params={"limit": 2, "cursor": first["next"]}).json()
    assert [item["machine_id"] for item in second["items"]] == ["machine-003"]
    assert second["next"] is None


def test_machines_are_stopped_by_prefix(client: TestClient) -> None:
    client.post("/simulations", json=[{"prefix": "a-", "count": 2}, {"machine_id": "b"}])
    stopped = client.delete("/simulations?prefix=a-").json()["items"]
    assert [item["machine_id"] for item in stopped] == ["a-001", "a-002"]
    assert [item["machine_id"] for item in client.get("/simulations").json()["items"]] == ["b"]


def test_a_stopping_simulator_takes_no_orders(client: TestClient, fleet: Fleet) -> None:
    assert client.portal is not None
    client.portal.call(fleet.close)
    assert "stopping" in problem(client.post("/simulate/machine-001"), 503)


def test_problems_are_described_in_openapi(client: TestClient) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/simulate/{machine_id}"]["post"]["responses"]
    assert {"202", "403", "409", "422"} <= set(responses)
    assert "application/problem+json" in responses["422"]["content"]
