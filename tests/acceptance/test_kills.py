"""Every role killed in a running simulation and brought back by `pdm up`: nothing lost, nothing doubled."""

import json
import os
import signal
import time
from typing import Any

import httpx
import psutil
import pytest

from pdm.config import RoleName, Settings

from .conftest import Cli
from .test_episodes import ask, until

MACHINES = 4
RATE_HZ = "10"
VICTIMS: tuple[RoleName, ...] = ("ingestor", "inference", "portal", "inference", "ingestor")
WITHIN_S = 90.0  # a killed member keeps its partitions until its session times out


@pytest.fixture(scope="module")
def settings(up: Cli) -> Settings:
    return Settings.model_validate({**up.addresses(), "data_dir": up.data_dir})


def process_of(cli: Cli, role: RoleName) -> psutil.Process | None:
    """The role's process in this stack and in no other."""
    mark = "pdm.stack=" + json.loads((cli.data_dir / "pdm-stack.json").read_text())["id"]
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if mark in line and f"run {role}" in line:
            return process
    return None


def kill(cli: Cli, settings: Settings, role: RoleName) -> None:
    """SIGKILL, then wait until another process of the role answers."""
    victim = until(lambda: process_of(cli, role))
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: is_back(cli, settings, role, victim.pid) or None, WITHIN_S)


def is_back(cli: Cli, settings: Settings, role: RoleName, old_pid: int) -> bool:
    process = process_of(cli, role)
    if process is None or process.pid == old_pid:
        return False
    try:
        return httpx.get(f"http://127.0.0.1:{settings.http.port(role)}/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def order(simulator: httpx.Client, machine_id: str, profile: str) -> dict[str, Any]:
    answer = simulator.post(f"/simulate/{machine_id}", params={"profile": profile, "rate_hz": RATE_HZ})
    answer.raise_for_status()
    state: dict[str, Any] = answer.json()
    return state


def test_kills_of_every_role_lose_and_double_nothing(up: Cli, settings: Settings) -> None:
    machines = [f"killed-{n}" for n in range(MACHINES)]
    with httpx.Client(base_url=settings.role_url("simulator")) as simulator:
        for machine_id in machines:
            order(simulator, machine_id, "normal")
        time.sleep(2)  # a stretch of calm before the fault, so that the windows hold something
        for machine_id in machines:
            order(simulator, machine_id, "overstrain")
        for role in VICTIMS:
            kill(up, settings, role)
        for machine_id in machines:
            simulator.post(
                f"/simulate/{machine_id}", params={"profile": "normal", "rate_hz": RATE_HZ}
            ).raise_for_status()
        until(lambda: every_alert_is(settings, machines, "cleared") or None, WITHIN_S)
        sent = {machine_id: simulator.delete(f"/simulate/{machine_id}").json()["sent"] for machine_id in machines}

    until(lambda: stored(settings, machines) == sent or None, WITHIN_S)
    distinct = "SELECT count(*) FROM sensor_log WHERE machine_id = ANY(%s)"
    assert ask(settings, "main", distinct, machines) == [(sum(sent.values()),)]
    assert ask(settings, "main", "SELECT count(*) FROM dead_letter") == [(0,)]
    assert ask(settings, "ai", EPISODES, machines) == [(machine_id, 1, 2) for machine_id in machines]
    assert ask(settings, "ai", OUTBOX, machines) == [(machine_id, 2) for machine_id in machines]
    assert ask(settings, "ai", TOLD, machines) == [(machine_id, 2, 2) for machine_id in machines]


def test_a_killed_simulator_goes_on_when_asked_again(up: Cli, settings: Settings) -> None:
    """Its machines end with it. What it had sent is stored once, and the machine can be started again."""
    machine_id = "reborn"
    with httpx.Client(base_url=settings.role_url("simulator")) as simulator:
        order(simulator, machine_id, "normal")
        until(lambda: stored(settings, [machine_id]) or None)
        kill(up, settings, "simulator")
        assert order(simulator, machine_id, "normal")["state"] == "running"
        before = stored(settings, [machine_id])[machine_id]
        until(lambda: stored(settings, [machine_id])[machine_id] > before or None)
        simulator.delete(f"/simulate/{machine_id}").raise_for_status()


EPISODES = """
    SELECT machine_id, count(*), max(seq) FROM anomaly_history WHERE machine_id = ANY(%s) GROUP BY 1 ORDER BY 1"""
OUTBOX = "SELECT msg_key, count(DISTINCT id) FROM outbox WHERE msg_key = ANY(%s) GROUP BY 1 ORDER BY 1"
TOLD = """
    SELECT a.machine_id, count(*), count(*) FILTER (WHERE n.state = 'sent')
    FROM portal.alert a JOIN portal.notification n USING (episode_id)
    WHERE a.machine_id = ANY(%s) GROUP BY 1 ORDER BY 1"""


def stored(settings: Settings, machines: list[str]) -> dict[str, int]:
    query = "SELECT machine_id, count(*) FROM sensor_log WHERE machine_id = ANY(%s) GROUP BY 1"
    return dict(ask(settings, "main", query, machines))


def every_alert_is(settings: Settings, machines: list[str], event: str) -> bool:
    query = "SELECT count(*) FROM portal.alert WHERE machine_id = ANY(%s) AND event = %s"
    return ask(settings, "ai", query, machines, event) == [(len(machines),)]
