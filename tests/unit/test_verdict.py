from datetime import timedelta

import pytest

from pdm.verdict import is_late, is_worth_telling, reason_to_drop
from tests.unit.portal.events import NOON, alert_event

SOON = NOON + timedelta(seconds=1)
LATER = NOON + timedelta(minutes=2, seconds=1)


def test_fresh_news_is_sent_whatever_became_of_the_episode() -> None:
    for is_open in (True, False):
        for is_superseded in (True, False):
            assert reason_to_drop(alert_event(), SOON, is_open=is_open, is_superseded=is_superseded) is None


def test_late_and_open_is_worth_one_page_the_newest_state() -> None:
    assert reason_to_drop(alert_event(), LATER, is_open=True, is_superseded=False) is None
    assert reason_to_drop(alert_event(), LATER, is_open=True, is_superseded=True)


def test_late_and_over_is_worth_none() -> None:
    cleared = alert_event(event="cleared", seq=2)
    assert reason_to_drop(cleared, LATER, is_open=False, is_superseded=False) == "late and over"
    assert reason_to_drop(alert_event(), LATER, is_open=False, is_superseded=True) == "late and over"


def test_two_minutes_are_not_late_yet() -> None:
    assert not is_late(alert_event(), NOON + timedelta(minutes=2))
    assert is_late(alert_event(), LATER)


@pytest.mark.parametrize(
    ("measured_before_s", "skew_s", "late"),
    [(60, 0.0, False), (121, 0.0, True), (3600, -3600.0, False), (3600, -3400.0, True), (-3600, 3600.0, False)],
)
def test_a_reading_that_was_old_when_it_came_is_late_but_a_wrong_clock_is_not(
    measured_before_s: float, skew_s: float, late: bool
) -> None:
    event = alert_event(timestamp=NOON - timedelta(seconds=measured_before_s), skew_s=skew_s)
    assert is_late(event, SOON) is late


def test_a_milder_state_and_check_runs_page_nobody() -> None:
    assert is_worth_telling(alert_event())
    assert is_worth_telling(alert_event(event="escalated"))
    assert is_worth_telling(alert_event(event="cleared"))
    assert not is_worth_telling(alert_event(event="eased"))
    assert not is_worth_telling(alert_event(machine_id="pdm-verify-07"))
