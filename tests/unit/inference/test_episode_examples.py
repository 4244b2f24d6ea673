"""Outages, wrong clocks and disorder during an open episode, one by one, with the events that an operator gets."""

import pytest

from pdm.inference.episode import Change, Position
from pdm.inference.machine import Arrival, Cadence, Machine, observe, step
from tests.machine_log import CALM, HEAVY, HOT, OVERLOAD, WEAK, Order, Segment, log_of

QUICK = Cadence.of(5.0)
Log = list[Arrival]


def run(log: Log, cadence: Cadence = QUICK, machine: Machine | None = None) -> list[Change]:
    machine = machine or Machine.new("machine-001", cadence)
    return [change for arrival in log if (change := step(machine, arrival)) is not None]


def events(changes: list[Change]) -> list[str]:
    return [change.event for change in changes]


def restarted(log: Log, before: list[Change]) -> Machine:
    """A machine in a process that was started behind `log`, with the episode that the database holds open."""
    machine = Machine.new("machine-001", QUICK)
    for arrival in log:
        if arrival.position.appended_ms >= log[-1].position.appended_ms - QUICK.warm_up_s * 1000:
            observe(machine, arrival)
    machine.episode, machine.decided = before[-1].episode, before[-1].position
    return machine


def test_ten_minutes_without_inference_while_the_log_goes_on_change_nothing() -> None:
    log = log_of([Segment(OVERLOAD, 60), Segment(OVERLOAD, 600), Segment(CALM, 60)])
    before = run(log[:60])
    after = run(log[60:], machine=restarted(log[:60], before))
    assert [*before, *after] == run(log)
    assert events(after) == ["cleared"]
    assert after[0].close_reason == "cleared"


@pytest.mark.parametrize("is_restarted", [False, True])
def test_ten_silent_minutes_end_the_episode_where_the_readings_stopped(is_restarted: bool) -> None:
    log = log_of([Segment(OVERLOAD, 60), Segment(OVERLOAD, 60, silence_s=600)])
    machine = Machine.new("machine-001", QUICK)
    before = run(log[:60], machine=machine)
    after = run(log[60:], machine=restarted(log[:60], before) if is_restarted else machine)
    assert events(before) == ["opened"]
    assert events(after) == ["cleared", "opened"]
    assert (after[0].close_reason, after[0].closed_at) == ("gap", log[59].reading.timestamp)
    assert after[0].position == log[60].position
    assert after[1].timestamp == log[62].reading.timestamp  # three readings of its own
    assert after[1].episode.episode_id != before[0].episode.episode_id


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_steps_an_hour_in_an_episode_neither_ends_nor_doubles_it(step_s: float) -> None:
    log = log_of(
        [
            Segment(OVERLOAD, 60),
            Segment(OVERLOAD, 200, clock_ahead_s=step_s),
            Segment(CALM, 60, clock_ahead_s=step_s),
        ]
    )
    opened, cleared = run(log)
    assert (opened.event, cleared.event, cleared.close_reason) == ("opened", "cleared", "cleared")
    assert cleared.closed_at is not None
    assert cleared.closed_at >= opened.episode.opened_at


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_is_set_right_again_in_an_episode_keeps_it(step_s: float) -> None:
    log = log_of([Segment(OVERLOAD, 120, clock_ahead_s=step_s), Segment(OVERLOAD, 120), Segment(CALM, 60)])
    assert events(run(log)) == ["opened", "cleared"]


def test_one_reading_a_minute_is_judged_by_twelve_minutes() -> None:
    slow = Cadence.of(60.0)
    log = log_of([Segment(HEAVY, 20, every_s=60.0), Segment(CALM, 30, every_s=60.0), Segment(CALM, 1, silence_s=900)])
    opened, cleared = run(log, slow)
    assert opened.position == log[4].position  # five readings
    assert (cleared.event, cleared.close_reason) == ("cleared", "cleared")


def test_one_reading_a_minute_leaves_gaps_where_a_faster_machine_is_expected() -> None:
    log = log_of([Segment(WEAK, 20, every_s=61.0)])
    assert run(log) == []


@pytest.mark.parametrize("order", ["doubled", "swapped", "late", "resent"])
def test_disorder_changes_neither_the_events_nor_their_number(order: Order) -> None:
    def log(order: Order) -> Log:
        parts = [(CALM, 20), (HOT, 20), (CALM, 40), (OVERLOAD, 20), (CALM, 100)]
        return log_of([Segment(sensors, count, order=order) for sensors, count in parts])

    def told(changes: list[Change]) -> list[tuple[str, tuple[str, ...]]]:
        return [(change.event, change.episode.failure_types) for change in changes]

    assert told(run(log(order))) == told(run(log("plain")))


@pytest.mark.parametrize("seconds", [5, 30, 300])
def test_old_readings_that_come_in_a_burst_are_no_clock_that_was_set_back(seconds: int) -> None:
    """A gateway that repeats its last minutes: the episode goes on, and the window is the one before."""
    log = log_of([Segment(CALM, 400), Segment(OVERLOAD, 30)])
    old = [
        Arrival(arrival.reading, Position(log[-1].position.appended_ms, len(log) + n))
        for n, arrival in enumerate(log[10 : 10 + seconds])
    ]
    machine = Machine.new("machine-001", QUICK)
    assert events(run(log, machine=machine)) == ["opened"]
    before = machine.window.means()
    assert run(old, machine=machine) == []
    assert machine.window.means() == before
    on = log_of([Segment(CALM, 430), Segment(OVERLOAD, 60)])[430:]
    assert run([Arrival(a.reading, Position(a.position.appended_ms, 5_000 + n)) for n, a in enumerate(on)]) != []
    assert events(run(on, machine=machine)) == []


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_a_gateway_that_collects_for_a_minute_is_judged_also_with_a_wrong_clock(ahead_s: float) -> None:
    log = log_of([Segment(CALM, 120), Segment(CALM, 240, clock_ahead_s=ahead_s, burst=60)])
    fault = log_of([Segment(CALM, 360), Segment(WEAK, 60, clock_ahead_s=ahead_s, burst=60)])[360:]
    assert events(run([*log, *fault])) == ["opened"]


def test_a_further_type_is_kept_though_it_is_no_transition() -> None:
    hot_and_weak = (299.0, 307.0, 1350.0, 20.0, 10.0)  # ΔT 8 K, 2.8 kW
    log = log_of([Segment(HOT, 10), Segment(hot_and_weak, 5), Segment(CALM, 60)])
    opened, cleared = run(log)
    assert opened.episode.failure_types == ("HeatDissipation",)
    assert cleared.episode.failure_types == ("HeatDissipation", "Power")


def test_a_fault_that_returns_at_once_is_a_second_episode() -> None:
    log = log_of([Segment(WEAK, 10), Segment(CALM, 10), Segment(WEAK, 10)])
    changes = run(log)
    assert events(changes) == ["opened", "cleared", "opened"]
    assert len({change.episode.episode_id for change in changes}) == 2
