"""An episode from its fault to its end, and a model that is trained and scores the next one."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
import torch

from pdm.config import Settings

from .conftest import Cli

T = TypeVar("T")
WITHIN_S = 30.0


def until(what: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """The first answer that is not None; the test fails when it does not come."""
    deadline = time.monotonic() + within_s
    while (answer := what()) is None:
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.1)
    return answer


def ask(settings: Settings, database: str, query: str, *args: object) -> list[tuple[Any, ...]]:
    block = settings.ai_db if database == "ai" else settings.main_db
    with psycopg.connect(block.conninfo("owner")) as conn:
        return conn.execute(query.encode(), args).fetchall()


def order(simulator: httpx.Client, machine_id: str, profile: str, **query: str) -> None:
    simulator.post(f"/simulate/{machine_id}", params={"profile": profile, "rate_hz": "10", **query}).raise_for_status()


@pytest.fixture(scope="module")
def settings(up: Cli) -> Settings:
    return Settings.model_validate({**up.addresses(), "data_dir": up.data_dir})


@pytest.fixture(scope="module")
def portal(settings: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings.role_url("portal")) as client:
        yield client


@pytest.fixture
def simulator(settings: Settings) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings.role_url("simulator")) as client:
        yield client
        client.delete("/simulations", params={"prefix": "episode-"}).raise_for_status()


def alerts(portal: httpx.Client, machine_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = portal.get("/api/alerts", params={"machine_id": machine_id}).json()["alerts"]
    return [alert for alert in found if alert["received"]]


def test_an_alert_clears_after_its_fault_and_does_not_come_back(
    portal: httpx.Client, simulator: httpx.Client, settings: Settings
) -> None:
    machine_id = "episode-1"
    order(simulator, machine_id, "normal")
    order(simulator, machine_id, "overstrain", duration_sec="20")
    (alert,) = until(lambda: alerts(portal, machine_id) or None)
    assert (alert["failure_type"], alert["severity"], alert["active"]) == ("Overstrain", "critical", True)

    def cleared() -> dict[str, Any] | None:
        (now,) = alerts(portal, machine_id)
        return None if now["active"] else now

    ended = until(cleared, within_s=90)
    assert ended["close_reason"] == "cleared"
    calm = "SELECT 1 FROM sensor_log WHERE machine_id = %s AND timestamp > %s OFFSET 100"  # ten seconds more
    until(lambda: ask(settings, "main", calm, machine_id, ended["closed_at"]) or None)
    assert [now["episode_id"] for now in alerts(portal, machine_id)] == [alert["episode_id"]]


def test_training_makes_a_model_that_scores_the_next_episode(
    settings: Settings, portal: httpx.Client, simulator: httpx.Client
) -> None:
    order(simulator, "episode-2", "normal")
    enough = "SELECT 1 FROM sensor_log OFFSET 300"
    until(lambda: ask(settings, "main", enough) or None, within_s=60)
    with httpx.Client(base_url=settings.role_url("inference")) as inference:
        answer = inference.post("/train-model")
        assert answer.status_code == 202
        job_id = answer.json()["id"]

        def ended() -> dict[str, Any] | None:
            job: dict[str, Any] = inference.get(f"/train-model/{job_id}").json()
            return job if job["finished_at"] else None

        job = until(ended, within_s=120)
        assert job["state"] == "done", job["detail"]
        version = job["model_version"]
        stored = torch.load(settings.model_dir / f"{version}.pth", weights_only=True)
        assert stored["manifest"]["version"] == version
        until(lambda: version in inference.get("/health/ready").json()["checks"]["model"]["detail"] or None)

    order(simulator, "episode-3", "normal")
    order(simulator, "episode-3", "overstrain")
    (alert,) = until(lambda: alerts(portal, "episode-3") or None)
    assert alert["model_version"] == version
