"""What holds for every log: state is a function of it, whoever replays it from wherever, in whatever batches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import fsum
from uuid import uuid5

from hypothesis import given, settings
from hypothesis import strategies as st

from pdm.inference.episode import START, Change, Episode, Position, episode_id
from pdm.inference.machine import Arrival, Cadence, Machine, observe, step
from pdm.inference.rules import PRECEDENCE
from pdm.inference.scores import Score
from tests.machine_log import ALL, CALM, HEAVY, HOT, NO_TEMPERATURE, WEAK, Segment, Sensors, log_of

SETTINGS = settings(max_examples=40, deadline=None, derandomize=True, database=None)
QUICK = Cadence.of(5.0)
Log = list[Arrival]

segments = st.builds(
    Segment,
    sensors=st.sampled_from(ALL),
    count=st.integers(1, 45),
    every_s=st.sampled_from([0.1, 1.0, 1.0, 5.0]),
    silence_s=st.sampled_from([0.0, 0.0, 0.0, 20.0, 75.0, 120.0, 400.0]),
    clock_ahead_s=st.sampled_from([0.0, 0.0, 0.0, 300.0, -300.0, 3600.0, -3600.0]),
    pace=st.sampled_from([1.0, 1.0, 1.0, 20.0]),
    burst=st.sampled_from([1, 1, 10]),
    order=st.sampled_from(["plain", "plain", "doubled", "swapped", "late", "resent"]),
    machine_id=st.sampled_from(["machine-001", "machine-001", "machine-002"]),
)
logs = st.lists(segments, min_size=1, max_size=7).map(log_of)


@dataclass
class Owner:
    """Who has the partition: its machines, and a database that outlives it."""

    cadence: Cadence = QUICK
    machines: dict[str, Machine] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    decided: dict[str, Position] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def take(self, batch: Sequence[Arrival]) -> None:
        for arrival in batch:
            machine = self._machine(arrival.reading.machine_id)
            if (change := step(machine, arrival)) is not None:
                self.changes.append(change)
                self.decided[machine.machine_id] = change.position
            self._keep(machine)

    def _machine(self, machine_id: str) -> Machine:
        machine = self.machines.setdefault(machine_id, Machine.new(machine_id, self.cadence))
        if not machine.is_loaded:
            machine.is_loaded = True
            machine.episode = self.episodes.get(machine_id)
            machine.decided = self.decided.get(machine_id, START)
        return machine

    def _keep(self, machine: Machine) -> None:
        self.episodes.pop(machine.machine_id, None)
        if machine.episode is not None:
            if machine.last_seen_at is not None:
                machine.episode = replace(machine.episode, last_seen_at=machine.last_seen_at)
            self.episodes[machine.machine_id] = machine.episode

    def restart(self, log: Sequence[Arrival], first_live: int) -> None:
        """Forget all but the database, and warm up from what was appended just before."""
        self.machines = {}
        if not first_live:
            return
        start_ms = log[first_live - 1].position.appended_ms - self.cadence.warm_up_s * 1000
        for arrival in log[:first_live]:
            if arrival.position.appended_ms >= start_ms:
                machine_id = arrival.reading.machine_id
                observe(self.machines.setdefault(machine_id, Machine.new(machine_id, self.cadence)), arrival)


def one_pass(log: Sequence[Arrival], cadence: Cadence = QUICK) -> list[Change]:
    owner = Owner(cadence)
    owner.take(log)
    return owner.changes


def told(changes: Sequence[Change]) -> list[tuple[object, ...]]:
    """What an event says, but for texts that count readings."""
    return [
        (c.event, c.event_id, c.timestamp, c.position, c.episode.failure_types, c.episode.severity, c.closed_at)
        for c in changes
    ]


@SETTINGS
@given(logs, st.lists(st.integers(0, 600), min_size=1, max_size=4))
def test_wherever_the_process_is_restarted_the_same_episodes_come_out(log: Log, cuts: list[int]) -> None:
    owner, done = Owner(), 0
    for cut in sorted(min(cut, len(log)) for cut in cuts):
        owner.take(log[done:cut])
        owner.restart(log, cut)
        done = cut
    owner.take(log[done:])
    assert told(owner.changes) == told(one_pass(log))


@SETTINGS
@given(logs, st.integers(0, 400), st.integers(1, 200))
def test_what_is_delivered_again_changes_nothing(log: Log, first: int, count: int) -> None:
    """Also to a process that has warmed up to the place where it begins again."""
    for is_restarted in (False, True):
        owner = Owner()
        owner.take(log[: first + count])
        if is_restarted:
            owner.restart(log, min(first, len(log)))
        before = list(owner.changes)
        owner.take(log[first : first + count])
        assert owner.changes == before


@SETTINGS
@given(logs)
def test_each_episode_is_opened_numbered_and_cleared_once(log: Log) -> None:
    changes = one_pass(log)
    for machine_id in {arrival.reading.machine_id for arrival in log}:
        of_machine = [change for change in changes if change.episode.machine_id == machine_id]
        positions = [change.position for change in of_machine]
        assert positions == sorted(set(positions))
        lives = [list(life) for _, life in groupby(of_machine, key=lambda change: change.episode.episode_id)]
        assert len({life[0].episode.episode_id for life in lives}) == len(lives)  # none comes back
        assert all(life[-1].event == "cleared" for life in lives[:-1])  # at most one is open
        for life in lives:
            assert [change.episode.seq for change in life] == list(range(1, len(life) + 1))
            assert [change.event == "opened" for change in life] == [True] + [False] * (len(life) - 1)
            assert all(change.event != "cleared" for change in life[:-1])


@SETTINGS
@given(logs)
def test_ids_come_from_the_opening_reading_and_types_only_rise(log: Log) -> None:
    opened: dict[object, Change] = {}
    so_far: dict[object, Change] = {}
    for change in one_pass(log):
        episode = change.episode
        first = opened.setdefault(episode.episode_id, change)
        wanted = episode_id(episode.machine_id, first.timestamp, first.position.appended_ms)
        assert (episode.episode_id, change.event_id) == (wanted, uuid5(wanted, str(episode.seq)))
        before = so_far.get(episode.episode_id, change).episode
        assert set(before.failure_types) <= set(episode.failure_types)
        assert PRECEDENCE.index(episode.failure_type) <= PRECEDENCE.index(before.failure_type)
        assert change.closed_at is None or change.closed_at >= episode.opened_at
        so_far[episode.episode_id] = change


@SETTINGS
@given(logs)
def test_old_and_repeated_readings_decide_nothing(log: Log) -> None:
    machines: dict[str, Machine] = {}
    for arrival in log:
        machine = machines.setdefault(arrival.reading.machine_id, Machine.new(arrival.reading.machine_id, QUICK))
        is_repeated = machine.window.holds(arrival.reading.timestamp.timestamp())
        watermark, change = machine.decided, step(machine, arrival)
        assert change is None or (not is_repeated and change.position > watermark)


@SETTINGS
@given(logs)
def test_a_reading_that_is_not_stepped_leaves_all_but_the_clock_as_it_was(log: Log) -> None:
    machines: dict[str, Machine] = {}
    for arrival in log:
        machine = machines.setdefault(arrival.reading.machine_id, Machine.new(arrival.reading.machine_id, QUICK))
        before = machine.fork()
        if observe(machine, arrival) == "ignored" and machine.window.samples:
            assert replace(machine, clock=before.clock) == before


@SETTINGS
@given(logs)
def test_an_episode_clears_only_once_every_rule_is_released(log: Log) -> None:
    machines: dict[str, Machine] = {}
    for arrival in log:
        machine = machines.setdefault(arrival.reading.machine_id, Machine.new(arrival.reading.machine_id, QUICK))
        change = step(machine, arrival)
        if change is not None and change.close_reason == "cleared":
            torque = machine.window.torque()
            assert torque is None or torque.mean_nm < 60
            assert not any(counter.holds for counter in machine.limits.values())


@SETTINGS
@given(logs)
def test_the_means_are_those_of_the_readings_of_the_last_minute(log: Log) -> None:
    machine = Machine.new("machine-001", QUICK)
    for arrival in log:
        observe(machine, arrival)
        window = [(sample.effective_s, sample.reading) for sample in machine.window.samples]
        if not window:
            continue
        assert all(window[-1][0] - 60 < effective_s <= window[-1][0] for effective_s, _ in window)
        assert len({reading.timestamp for _, reading in window}) == len(window)
        torques = [reading.torque_nm for _, reading in window if reading.torque_nm is not None]
        assert machine.window.means().torque_nm == (fsum(torques) / len(torques) if torques else None)


@SETTINGS
@given(st.lists(st.tuples(st.sampled_from([CALM, WEAK, HOT]), st.sampled_from([0.1, 0.9]), st.integers(1, 20))))
def test_severity_is_that_of_the_rules_and_turns_up_and_down_in_turn(parts: list[tuple[Sensors, float, int]]) -> None:
    log = log_of([Segment(sensors, count) for sensors, _, count in parts])
    scores = [Score("m1", (("Power", p),)) for _, p, count in parts for _ in range(count)]
    owner = Owner()
    owner.take([replace(arrival, score=score) for arrival, score in zip(log, scores, strict=True)])
    severity = None
    for change in owner.changes:
        if change.event == "eased":
            assert (severity, change.episode.severity) == ("critical", "warning")
        if change.event == "escalated" and severity == "critical":
            assert change.episode.severity == "critical"  # a higher type
        severity = change.episode.severity if change.event != "cleared" else None


def test_a_slow_machine_is_restarted_without_a_trace() -> None:
    slow = Cadence.of(60.0)
    log = log_of([Segment(CALM, 20, 60.0), Segment(HOT, 8, 60.0), Segment(CALM, 30, 60.0), Segment(HEAVY, 20, 60.0)])
    expected = one_pass(log, slow)
    assert [change.event for change in expected] == ["opened", "cleared", "opened"]
    for cut in range(len(log)):
        owner = Owner(slow)
        owner.take(log[:cut])
        owner.restart(log, cut)
        owner.take(log[cut:])
        assert told(owner.changes) == told(expected)


def test_an_hours_clock_error_is_restarted_without_a_trace() -> None:
    """The warm-up proves the clock wrong and fills a window after that."""
    log = log_of([Segment(CALM, 60, clock_ahead_s=3600), Segment(HEAVY, 200, clock_ahead_s=3600), Segment(CALM, 90)])
    expected = told(one_pass(log))
    for cut in range(0, len(log), 23):
        owner = Owner()
        owner.take(log[:cut])
        owner.restart(log, cut)
        owner.take(log[cut:])
        assert told(owner.changes) == expected


def test_a_sensor_that_died_in_an_episode_holds_it_also_after_a_restart() -> None:
    log = log_of([Segment(HOT, 10), Segment(NO_TEMPERATURE, 400), Segment(CALM, 10)])
    owner = Owner()
    owner.take(log[:300])
    owner.restart(log, 300)
    owner.take(log[300:])
    assert [change.event for change in owner.changes] == ["opened", "cleared"]
    assert owner.changes[1].position == log[-1].position
