"""The first ten minutes: a fault becomes an alert, or the demo says where it stopped."""

import time
from collections.abc import Iterator

import httpx
import pytest

from .conftest import Cli

LINE = "!!긴급!! machine-001 과부하 감지"


@pytest.fixture
def paused_relay(up: Cli) -> Iterator[Cli]:
    with httpx.Client(base_url=f"{up.addresses()['connect']['url']}/connectors/pdm-outbox") as connect:
        connect.put("/pause")
        wait_for_task(connect, "PAUSED")
        yield up
        connect.put("/resume")
        wait_for_task(connect, "RUNNING")


def wait_for_task(connect: httpx.Client, state: str) -> None:
    deadline = time.monotonic() + 20
    while connect.get("/status").json()["tasks"][0]["state"] != state:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_fault_reaches_the_portal_and_every_hop_is_shown(up: Cli) -> None:
    ended = up.run("demo", "--exit", timeout_s=150)

    assert ended.code == 0, ended.out + ended.err
    assert LINE in ended.out
    hops = [line.split()[2] for line in ended.out.splitlines() if line.strip()[:1].isdigit() and " s  " in line]
    assert hops[-8:] == ["injected", "sent", "stored", "detected", "committed", "relayed", "portal", "told"]
    assert "All hops agree" in ended.out


def test_a_second_demo_right_after_gives_another_alert(up: Cli) -> None:
    ended = up.run("demo", "--exit", timeout_s=150)

    assert ended.code == 0, ended.out + ended.err
    assert LINE in ended.out


def test_a_paused_relay_is_named_as_the_missing_hop(paused_relay: Cli) -> None:
    ended = paused_relay.run("demo", "--exit", timeout_s=150)

    assert ended.code == 1
    assert LINE not in ended.out
    assert ended.err.startswith("error: relayed: no record on anomaly-alerts within 20 s · ")
    assert len(ended.err.splitlines()) == 1
