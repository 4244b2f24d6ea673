from datetime import timedelta
from typing import Any

import pytest

from pdm.portal.status import MachineStatus, machine_status, stale_after_s, worst_first
from pdm.store.fleet import KnownMachine
from pdm.store.history import StoredReading
from tests.unit.portal.events import EPISODE, NOON

FEATURES = {"last_seen": "2025-11-07T11:59:59.500+00:00", "last_torque": "42.8", "temp_1m_avg": "309.4"}


def known(machine_id: str = "machine-001", severity: str | None = None) -> KnownMachine:
    episode = (EPISODE, severity, "Overstrain", NOON, ["reason"]) if severity else (None,) * 5
    return KnownMachine(machine_id, "north", None, "L", NOON, *episode)


def stored(age_s: float) -> StoredReading:
    return StoredReading("machine-001", NOON - timedelta(seconds=age_s), 299.1, 309.5, 1500, 41.0, 5, "L", None)


def status(**given: Any) -> MachineStatus:
    inputs: dict[str, Any] = {"known": known(), "features": FEATURES, "newest": None, **given}
    return machine_status("machine-001", now=NOON, stale_s=60.0, **inputs)


def test_fresh_values_of_redis() -> None:
    shown = status()
    assert (shown.state, shown.stale, shown.degraded, shown.age_s) == ("normal", False, False, 0.5)
    assert (shown.features.last_torque, shown.features.temp_1m_avg, shown.features.last_rpm) == (42.8, 309.4, None)


@pytest.mark.parametrize(("severity", "state"), [("critical", "critical"), ("warning", "warning")])
def test_an_open_episode_decides_the_state_even_of_a_silent_machine(severity: str, state: str) -> None:
    assert status(known=known(severity=severity)).state == state
    silent = status(known=known(severity=severity), features={}, newest=stored(age_s=3600))
    assert (silent.state, silent.stale) == (state, True)


def test_silence_counts_from_the_newest_reading() -> None:
    old = {**FEATURES, "last_seen": "2025-11-07T11:58:59+00:00"}
    assert status(features=old).state == "silent"
    assert status(features={**FEATURES, "last_seen": "2025-11-07T11:59:00+00:00"}).state == "normal"


def test_without_redis_the_newest_stored_reading_is_shown_and_marked() -> None:
    shown = status(features={}, newest=stored(age_s=2))
    assert (shown.state, shown.degraded, shown.age_s) == ("normal", True, 2.0)
    assert (shown.features.last_torque, shown.features.torque_1m_avg) == (41.0, None)


def test_a_machine_without_any_value_is_silent() -> None:
    shown = status(features={}, newest=None)
    assert (shown.state, shown.stale, shown.last_seen, shown.age_s) == ("silent", True, None, None)


def test_unreadable_features_are_absent_ones() -> None:
    shown = status(features={"last_seen": FEATURES["last_seen"], "last_torque": "much"})
    assert shown.features.last_torque is None
    assert status(features={"last_seen": "yesterday"}).degraded


def test_a_clock_ahead_of_ours_gives_no_negative_age() -> None:
    assert status(features={"last_seen": "2025-11-07T12:00:09+00:00"}).age_s == 0


def test_worst_first_then_by_id() -> None:
    def machine(name: str, **given: Any) -> MachineStatus:
        inputs: dict[str, Any] = {"known": None, "features": FEATURES, "newest": None, **given}
        return machine_status(name, now=NOON, stale_s=60.0, **inputs)

    fleet = [
        machine("d"),
        machine("c", features={}),
        machine("b", known=known("b", "warning")),
        machine("a2", known=known("a2", "critical")),
        machine("a1", known=known("a1", "critical")),
        machine("e"),
    ]
    assert [one.machine_id for one in worst_first(fleet)] == ["a1", "a2", "b", "c", "d", "e"]


def test_a_slow_machine_may_be_silent_for_longer() -> None:
    assert stale_after_s(1.0) == 60.0
    assert stale_after_s(10.0) == 120.0
