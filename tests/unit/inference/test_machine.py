"""What an operator relies on: when an episode opens, its name, when it ends, and that a replay changes nothing."""

import copy
from collections.abc import Mapping
from datetime import timedelta

import pytest

from pdm.events import FailureType
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival, Machine, observe
from pdm.inference.scores import Score

from .conftest import CALM, HOT, OVERLOAD, START, STRAINED, WEAK, Driver, make_reading


def likely(p: float, mode: FailureType = "Power") -> Score:
    return Score("m1", ((mode, p),))


def test_a_calm_machine_never_opens_an_episode(driver: Driver) -> None:
    assert driver.send(CALM, 600) == []


@pytest.mark.parametrize(
    ("values", "failure_type"),
    [(OVERLOAD, "Overstrain"), (STRAINED, "Overstrain"), (HOT, "HeatDissipation"), (WEAK, "Power")],
)
def test_the_third_violating_reading_opens_a_critical_episode_of_that_type(
    driver: Driver, values: Mapping[str, float | None], failure_type: str
) -> None:
    driver.send(CALM, 20)
    assert driver.send(values, 2) == []
    (change,) = driver.send(values)
    assert (change.event, change.episode.failure_type, change.episode.severity) == ("opened", failure_type, "critical")
    assert change.episode.seq == 1


def test_an_overload_breaks_the_power_limit_first_and_is_named_overstrain(driver: Driver) -> None:
    (change,) = driver.send(OVERLOAD, 3)
    assert change.episode.failure_types == ("Overstrain", "Power")
    assert any("10,472 W above 9,000 W" in reason for reason in change.reasons)
    assert any("80.0 Nm, limit 65 Nm" in reason for reason in change.reasons)


def test_two_violations_in_five_readings_open_nothing(driver: Driver) -> None:
    for _ in range(20):
        driver.send(WEAK, 2)
        driver.send(CALM, 3)
    assert driver.changes == []


def test_three_of_five_need_not_be_in_a_row(driver: Driver) -> None:
    driver.send(WEAK)
    driver.send(CALM)
    driver.send(WEAK)
    driver.send(CALM)
    assert [change.event for change in driver.send(WEAK)] == ["opened"]


def test_the_mean_torque_rule_opens_without_any_limit_violated(driver: Driver) -> None:
    # 65.5 Nm at 1,300 rpm is 8,917 W: inside the power band, and a young tool is far from its strain limit
    high = {**CALM, "rpm": 1300.0, "torque_nm": 65.5}
    assert driver.send(high, 30) == []  # 29 s are not yet half a minute
    (change,) = driver.send(high)
    assert change.episode.failure_type == "Overstrain"
    assert "one-minute mean torque 65.5 Nm, limit 65 Nm" in change.reasons


def test_the_mean_rule_holds_the_episode_until_the_mean_is_below_60(driver: Driver) -> None:
    driver.send(OVERLOAD, 60)
    assert driver.send(CALM, 30) == []  # the mean falls by 0.67 Nm a reading and is exactly 60 Nm now
    cleared = driver.send(CALM)
    assert [change.event for change in cleared] == ["cleared"]
    assert cleared[0].close_reason == "cleared"


def test_a_fault_right_after_the_start_is_one_episode(driver: Driver) -> None:
    """Ten calm readings at 10 Hz take a second: the mean is then still that of the fault, in a window not yet full."""
    driver.send(OVERLOAD, 200, every_s=0.1)
    driver.send(CALM, 600, every_s=0.1)
    assert [change.event for change in driver.changes] == ["opened", "cleared"]


def test_a_cleared_episode_does_not_reopen_while_the_machine_is_calm(driver: Driver) -> None:
    driver.send(OVERLOAD, 45)
    driver.send(CALM, 300)
    assert [change.event for change in driver.changes] == ["opened", "cleared"]


def test_an_episode_clears_after_ten_readings_well_inside_every_limit(driver: Driver) -> None:
    driver.send(HOT, 5)
    assert driver.send(CALM, 9) == []
    assert [change.event for change in driver.send(CALM)] == ["cleared"]


def test_readings_just_inside_a_limit_do_not_clear(driver: Driver) -> None:
    driver.send(HOT, 5)
    barely = {**HOT, "process_temp_k": 307.7}  # ΔT 8.7 K: not violated, within two sigma of the limit
    assert driver.send(barely, 50) == []


def test_a_higher_type_escalates_and_a_lower_one_does_not(driver: Driver) -> None:
    driver.send(HOT, 3)
    both = {**HOT, "torque_nm": 75.0}
    (change,) = driver.send(both, 3)
    assert (change.event, change.episode.failure_type, change.episode.seq) == ("escalated", "Overstrain", 2)
    assert set(change.episode.failure_types) == {"Overstrain", "HeatDissipation", "Power"}
    assert driver.send(HOT, 3) == []


def test_a_dead_sensor_counts_neither_for_nor_against(driver: Driver) -> None:
    deaf = {**HOT, "process_temp_k": None}
    assert driver.send(deaf, 20) == []
    driver.send(HOT, 2)
    driver.send(deaf, 20)
    assert [change.event for change in driver.send(HOT)] == ["opened"]
    assert driver.send({**CALM, "process_temp_k": None}, 60) == []  # unknown is not clear


def test_a_gap_closes_the_episode_also_when_a_restart_fell_into_it(driver: Driver) -> None:
    (opened,) = driver.send(OVERLOAD, 3)
    driver.machine = Machine.new("machine-001", driver.machine.cadence)  # the gap is longer than the warm-up
    driver.machine.episode, driver.machine.decided = opened.episode, opened.position
    (change,) = driver.send(CALM, every_s=600.0)
    assert (change.event, change.close_reason) == ("cleared", "gap")
    assert change.closed_at == opened.episode.last_seen_at


def test_a_gap_closes_the_episode_where_the_readings_stopped(driver: Driver) -> None:
    driver.send(OVERLOAD, 5)
    stopped_at = driver.at
    (change,) = driver.send(CALM, every_s=90.0)
    assert (change.event, change.close_reason, change.closed_at) == ("cleared", "gap", stopped_at)
    assert driver.send(OVERLOAD, 2) == []  # counters started anew
    (opened,) = driver.send(OVERLOAD)
    assert opened.episode.episode_id != change.episode.episode_id


def test_a_slow_machine_is_judged_like_a_fast_one(driver: Driver) -> None:
    high = {**CALM, "rpm": 1300.0, "torque_nm": 65.5}
    driver.send(high, 12, every_s=5.0)
    assert [change.event for change in driver.changes] == ["opened"]


def test_a_repeated_reading_changes_nothing(driver: Driver) -> None:
    driver.send(WEAK, 2)
    driver.send(WEAK, 5, every_s=0.0)
    assert driver.changes == []


def test_a_late_reading_enters_the_window_but_not_the_counters(driver: Driver) -> None:
    driver.send(CALM, 30)
    driver.send(WEAK, 2)
    late = {**WEAK, "torque_nm": 10.0}
    before = len(driver.machine.window.samples)
    driver.send(late, clock_ahead_s=-5.5, every_s=0.0)
    assert len(driver.machine.window.samples) == before + 1
    assert driver.changes == []


def test_a_much_later_reading_is_not_stepped_at_all(driver: Driver) -> None:
    driver.send(CALM, 30)
    before = len(driver.machine.window.samples)
    driver.send(WEAK, clock_ahead_s=-20.5, every_s=0.0)
    assert len(driver.machine.window.samples) == before


def test_a_replay_after_the_commit_writes_nothing_and_ends_in_the_same_state(driver: Driver) -> None:
    driver.send(CALM, 40)
    committed = copy.deepcopy(driver.machine)
    driver.send(OVERLOAD, 5)
    replayed = Driver(machine=committed, at=START + timedelta(seconds=40), offset=40)
    replayed.machine.episode, replayed.machine.decided = driver.machine.episode, driver.machine.decided
    assert replayed.send(OVERLOAD, 5) == []
    after = (driver.send(CALM, 60), replayed.send(CALM, 60))
    assert after[0] == after[1]


def test_the_same_log_gives_the_same_ids(driver: Driver) -> None:
    twin = Driver()
    for one in (driver, twin):
        one.send(OVERLOAD, 40)
        one.send(CALM, 60)
    assert [change.event_id for change in driver.changes] == [change.event_id for change in twin.changes]
    assert len({change.event_id for change in driver.changes}) == 2


def test_warm_up_then_live_decides_as_if_there_had_been_no_restart(driver: Driver) -> None:
    """A restart in the middle of the window: windows and counters from the log, the episode from the database."""
    driver.send(OVERLOAD, 50)
    restarted = Driver(at=driver.at, offset=driver.offset)
    for second in range(1, 51):
        at = START + timedelta(seconds=second)
        position = Position(round(at.timestamp() * 1000), second)
        observe(restarted.machine, Arrival(make_reading(OVERLOAD, at), position))
    restarted.machine.episode, restarted.machine.decided = driver.machine.episode, driver.machine.decided
    assert restarted.machine.window.means() == driver.machine.window.means()
    assert restarted.send(CALM, 60) == driver.send(CALM, 60)


def test_a_fork_leaves_its_origin_alone(driver: Driver) -> None:
    driver.send(CALM, 30)
    before = copy.deepcopy(driver.machine)
    Driver(machine=driver.machine.fork(), at=driver.at, offset=driver.offset).send(OVERLOAD, 30)
    assert driver.machine == before


def test_the_model_alone_warns_after_three_of_five_and_eases_when_quiet(driver: Driver) -> None:
    assert driver.send(CALM, 2, score=likely(0.9)) == []
    (opened,) = driver.send(CALM, score=likely(0.9))
    assert (opened.episode.severity, opened.episode.failure_type, opened.model_version) == ("warning", "Power", "m1")
    assert [change.event for change in driver.send(CALM, 60, score=likely(0.1))] == ["cleared"]


def test_a_rule_escalates_a_warning_and_the_model_alone_eases_it(driver: Driver) -> None:
    driver.send(CALM, 3, score=likely(0.9))
    assert [change.event for change in driver.send(WEAK, 3, score=likely(0.9))] == ["escalated"]
    eased = driver.send(CALM, 30, score=likely(0.9))
    assert [(change.event, change.episode.severity) for change in eased] == [("eased", "warning")]


def test_an_hour_of_clock_error_keeps_the_episode_and_is_noticed(driver: Driver) -> None:
    driver.send(OVERLOAD, 30)
    driver.send(OVERLOAD, 120, clock_ahead_s=3600.0)
    assert [change.event for change in driver.changes] == ["opened"]
    assert driver.machine.clock.is_skewed
    assert driver.machine.clock.skew_s == pytest.approx(3600.0, abs=0.01)


def test_a_clock_set_back_stops_judging_for_a_few_readings_only(driver: Driver) -> None:
    driver.send(CALM, 60)
    driver.send(CALM, 5, clock_ahead_s=-300.0)
    opened = driver.send(WEAK, 5, clock_ahead_s=-300.0)
    assert [change.event for change in opened] == ["opened"]


def test_one_reading_from_the_future_does_not_blind_the_machine(driver: Driver) -> None:
    driver.send(CALM, 60)
    driver.send(CALM, clock_ahead_s=7200.0)
    driver.send(CALM, 5)
    assert [change.event for change in driver.send(WEAK, 5)] == ["opened"]


def test_an_accelerated_run_is_late_but_never_skewed(driver: Driver) -> None:
    for second in range(2_000):
        driver.send(CALM, every_s=0.01, clock_ahead_s=-86_400 + second * 0.99)
    assert not driver.machine.clock.is_skewed
    assert driver.changes == []
