"""The portal's routes on real databases and a real feature store, and its process with the real relay."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from tests.desk import Desk, episode
from tests.plant import Plant, reading, write
from tests.records import NOON

from pdm.config import Settings
from pdm.feature_store import FeatureStore
from pdm.local.stack import LocalStack
from pdm.portal.app import build


@pytest.fixture
def client(desk: Desk) -> Iterator[TestClient]:
    role = build(desk.settings)
    with TestClient(
        role.http, "http://127.0.0.1", raise_server_exceptions=False
    ) as client:  # one event loop, as in the process
        yield client
        assert client.portal is not None
        assert role.close is not None
        client.portal.call(role.close)


def test_logs_are_paged_newest_first_each_reading_once(client: TestClient, plant: Plant) -> None:
    write(plant.writer(), *(reading(second, torque_nm=40 + second / 100) for second in range(250)))
    pages = list(_pages(client, "/api/machines/machine-001/logs", "readings", limit=100))
    assert [len(page) for page in pages] == [100, 100, 50]
    times = [item["timestamp"] for page in pages for item in page]
    assert times == [_iso(NOON + timedelta(seconds=second)) for second in reversed(range(250))]
    newest = pages[0][0]
    assert {"machine_id", "air_temp_k", "process_temp_k", "rpm", "torque_nm", "tool_wear_min"} <= newest.keys()
    assert newest["torque_nm"] == 42.49


def test_logs_between_two_times(client: TestClient, plant: Plant) -> None:
    write(plant.writer(), *(reading(second) for second in range(100)))
    span = {"from": _iso(NOON + timedelta(seconds=10)), "to": _iso(NOON + timedelta(seconds=30))}
    pages = list(_pages(client, "/api/machines/machine-001/logs", "readings", limit=15, **span))
    assert [len(page) for page in pages] == [15, 5]
    assert pages[-1][-1]["timestamp"] == span["from"]


def test_a_machine_nobody_heard_of_is_404(client: TestClient) -> None:
    for path in ("/api/machines/nobody/logs", "/api/machines/nobody/status", f"/api/alerts/{uuid4()}"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_alerts_are_every_episode_relayed_or_not_newest_first(client: TestClient, desk: Desk) -> None:
    start = datetime.now(UTC) - timedelta(hours=1)
    for number in range(7):
        names = ("opened", "cleared") if number % 2 else ("opened",)
        events = episode(*names, machine_id=f"machine-{number}", at=start + timedelta(minutes=number))
        desk.detect(events)
        if number < 5:
            desk.take_in(events)
    alerts = [alert for page in _pages(client, "/api/alerts", "alerts", limit=3) for alert in page]
    assert [alert["machine_id"] for alert in alerts] == [f"machine-{number}" for number in reversed(range(7))]
    assert [alert["received"] for alert in alerts] == [False, False, True, True, True, True, True]
    closed = client.get("/api/alerts?active=false").json()["alerts"]
    assert [alert["machine_id"] for alert in closed] == ["machine-5", "machine-3", "machine-1"]
    assert client.get("/api/alerts?machine_id=machine-2").json()["alerts"][0]["reasons"] == ["reason 1"]
    assert client.get("/api/alerts?severity=warning").json()["alerts"] == []
    assert len(client.get("/api/alerts?failure_type=Overstrain").json()["alerts"]) == 7


def test_alerts_of_the_same_moment_are_paged_completely(client: TestClient, desk: Desk) -> None:
    moment = datetime.now(UTC)
    for number in range(5):
        desk.detect(episode("opened", machine_id=f"machine-{number}", at=moment))
    alerts = [alert for page in _pages(client, "/api/alerts", "alerts", limit=2) for alert in page]
    assert {alert["machine_id"] for alert in alerts} == {f"machine-{number}" for number in range(5)}
    assert len(alerts) == 5


def test_one_alert_with_its_evidence_and_who_was_told(client: TestClient, desk: Desk) -> None:
    events = episode("opened")
    desk.detect(events)
    desk.take_in(events)
    asyncio.run(desk.notifier().send_due())
    shown = client.get(f"/api/alerts/{events[0].event.episode_id}").json()
    assert shown["alert"]["failure_type"] == "Overstrain"
    assert shown["evidence"]["features"] == {"torque_1m_avg_nm": 71.3}
    (told,) = shown["notifications"]
    assert (told["state"], told["message"]) == ("sent", "!!긴급!! machine-001 과부하 감지")


def test_status_from_the_feature_store_and_without_it(client: TestClient, desk: Desk, plant: Plant) -> None:
    machine_id = f"machine-{uuid4().hex[:8]}"
    events = episode("opened", machine_id=machine_id)
    desk.detect(events)
    write(plant.writer(), reading(0, machine_id=machine_id, torque_nm=41.5))
    old = client.get(f"/api/machines/{machine_id}/status").json()
    assert (old["degraded"], old["stale"], old["state"]) == (True, True, "critical")
    assert old["features"]["last_torque"] == 41.5

    now = datetime.now(UTC)
    _store_features(
        desk.settings, machine_id, {"last_seen": now.isoformat(), "last_torque": 78.5, "torque_1m_avg": 71.3}
    )
    shown = client.get(f"/api/machines/{machine_id}/status").json()
    assert (shown["degraded"], shown["stale"], shown["state"]) == (False, False, "critical")
    assert (shown["features"]["last_torque"], shown["features"]["torque_1m_avg"]) == (78.5, 71.3)
    assert shown["age_s"] < 60
    assert shown["episode"]["episode_id"] == events[0].event.episode_id


def test_machines_are_paged_without_those_of_check_runs(client: TestClient, desk: Desk) -> None:
    for number in range(5):
        desk.detect(episode("opened", machine_id=f"machine-{number}"))
    desk.detect(episode("opened", machine_id="pdm-verify-01"))
    pages = list(_pages(client, "/api/machines", "machines", limit=2))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [item["machine_id"] for page in pages for item in page] == [f"machine-{number}" for number in range(5)]


def test_the_page_shows_the_fleet_and_why(client: TestClient, desk: Desk) -> None:
    desk.detect(episode("opened", reasons=["strain 11,420 of 11,000 min·Nm"]))
    desk.detect(episode("opened", machine_id="pdm-verify-01"))
    shown = client.get("/?lang=en").text
    assert 'data-id="machine-001" data-state="critical"' in shown
    assert "strain 11,420 of 11,000 min·Nm" in shown
    assert "pdm-verify-01" not in shown
    assert "strain 11,420" in client.get("/parts/alerts").text
    assert 'data-id="machine-001"' in client.get("/parts/machines").text


def test_from_the_outbox_to_the_line_and_a_stop_that_no_open_page_holds_up(
    local_stack: LocalStack, tmp_path: Path
) -> None:
    settings, machine_id = local_stack.settings, f"machine-{uuid4().hex[:8]}"
    (opened,) = events = episode("opened", machine_id=machine_id)
    with _portal(local_stack, tmp_path / "portal.log") as (process, url):
        Desk(settings, None).detect(events)  # type: ignore[arg-type]  # it needs no pool of the portal's for this
        line = f"!!긴급!! {machine_id} 과부하 감지"
        _until(lambda: line in (tmp_path / "portal.log").read_text(), 20)
        (alert,) = httpx.get(f"{url}/api/alerts", params={"machine_id": machine_id}).json()["alerts"]
        assert (alert["episode_id"], alert["received"]) == (opened.event.episode_id, True)
        with httpx.stream("GET", f"{url}/api/events", params={"after": 0}, timeout=10) as stream:
            lines = stream.iter_lines()
            assert any(machine_id in text for text in lines)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            for _ in lines:
                pass
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
    assert (tmp_path / "portal.log").read_text().count(line) == 1


@contextmanager
def _portal(stack: LocalStack, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`pdm run portal` in a process of its own, ready."""
    port = _free_port()
    environment = {**os.environ, **stack.environment, "PDM_HTTP__PORTAL_PORT": str(port)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pdm", "run", "portal"], env=environment, stdout=file, stderr=file
        )
    try:
        _until(lambda: _is_ready(f"http://127.0.0.1:{port}"), 30)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def _until(condition: Any, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def _pages(client: TestClient, path: str, name: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    cursor = None
    while True:
        answer = client.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        yield answer.json()[name]
        cursor = answer.json()["next"]
        if cursor is None:
            return


def _store_features(settings: Settings, machine_id: str, features: dict[str, Any]) -> None:
    async def write_them() -> None:
        store = FeatureStore(settings.redis, "inference")
        await store.write({machine_id: features}, {machine_id: time.time()})
        await store.close()

    asyncio.run(write_them())


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
