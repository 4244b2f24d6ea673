"""One machine's state and the step that a reading makes it take. No clock, no I/O: the log alone decides.

`step` changes the state it is given. A handler therefore steps a `fork`, and keeps it only once what the step decided
is committed; on failure the fork is dropped and nothing happened.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pdm import physics
from pdm.events import SENSORS, FailureType, Reading
from pdm.inference.clock import MachineClock
from pdm.inference.episode import START, Change, Episode, Position, Verdict, close_by_gap, decide, with_types
from pdm.inference.rules import LIMITS, MODE_OF_LIMIT, LimitCounter, LimitName
from pdm.inference.scores import ModelCounter, Score
from pdm.inference.window import Sample, TorqueMean, Window

Found = Literal["stepped", "first", "gap", "ignored"]


@dataclass(frozen=True, slots=True)
class Cadence:
    """What the slowest expected sending interval means for windows and gaps, s.

    Warm-up sees a window, the minute that proves a clock wrong, and half a minute to spare. It is all the memory there
    is besides the database: what was appended earlier plays no part, so a restart changes no decision.
    """

    window_s: float
    gap_s: float
    warm_up_s: float

    @classmethod
    def of(cls, max_interval_s: float) -> "Cadence":
        window_s = max(60.0, 12 * max_interval_s)
        return cls(window_s=window_s, gap_s=window_s, warm_up_s=window_s + max(90.0, 6 * max_interval_s))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A reading, where it stands in the log, and what the model says of it (None while there is no model)."""

    reading: Reading
    position: Position
    score: Score | None = None


@dataclass(slots=True)
class Machine:
    machine_id: str
    cadence: Cadence
    window: Window
    clock: MachineClock = field(default_factory=MachineClock)
    limits: dict[LimitName, LimitCounter] = field(default_factory=lambda: {name: LimitCounter() for name in LIMITS})
    model: ModelCounter = field(default_factory=ModelCounter)
    last_values: dict[str, float] = field(default_factory=dict)  # newest value of each sensor
    last_seen_at: datetime | None = None  # timestamp of the newest reading in order
    score: float = 0.0
    episode: Episode | None = None
    decided: Position = START  # transitions up to here are in the database
    is_loaded: bool = False  # episode and decided are the database's

    @classmethod
    def new(cls, machine_id: str, cadence: Cadence) -> "Machine":
        return cls(machine_id, cadence, Window(cadence.window_s, cadence.warm_up_s))

    def empty(self) -> None:
        """Windows and counters begin anew; the episode goes on."""
        self.window.clear()
        self.limits = {name: LimitCounter() for name in LIMITS}
        self.model = ModelCounter()

    def fork(self) -> "Machine":
        return replace(
            self,
            window=self.window.fork(),
            clock=self.clock.fork(),
            limits=self.limits.copy(),
            last_values=self.last_values.copy(),
        )


def step(machine: Machine, arrival: Arrival) -> Change | None:
    """Take one reading in and decide; the machine's episode is the one after the decision."""
    before = machine.last_seen_at
    found = observe(machine, arrival)
    if found == "ignored" or arrival.position <= machine.decided:
        return None  # a replay: the database already has what this reading decided
    episode = machine.episode
    seen_at = before or (episode.last_seen_at if episode else None)
    if episode is not None and seen_at is not None and _is_gap(machine, found, arrival, seen_at):
        change: Change | None = close_by_gap(episode, seen_at, arrival.reading, arrival.position)
    else:
        change = _decide(machine, arrival)
    if change is not None:
        machine.episode = change.episode if change.closed_at is None else None
        machine.decided = change.position
    return change


def _decide(machine: Machine, arrival: Arrival) -> Change | None:
    verdict = judge(machine, arrival)
    machine.score = verdict.score
    change = decide(machine.episode, verdict, arrival.reading, arrival.position)
    if change is None and machine.episode is not None:
        machine.episode = with_types(machine.episode, verdict.opening)
    return change


def observe(machine: Machine, arrival: Arrival) -> Found:
    """Step windows and counters only, as warm-up does.

    `gap`: readings were missing, so all was emptied first. `first`: the first that is known; a gap may be before it.
    """
    reading, append_s = arrival.reading, arrival.position.appended_ms / 1000
    timestamp_s = reading.timestamp.timestamp()
    _forget(machine, append_s)
    if machine.window.holds(timestamp_s):
        return "ignored"
    newest_s = machine.clock.newest_s
    effective_s, place = machine.clock.place(timestamp_s, append_s)
    if place == "old":
        return "ignored"
    is_gap = place == "next" and newest_s is not None and effective_s - newest_s > machine.cadence.gap_s
    if is_gap:
        machine.empty()
    elif place == "jumped":
        machine.window.clear()
    machine.window.add(Sample(effective_s, timestamp_s, append_s, reading))
    if place != "recent":
        _count(machine, arrival)
    return "gap" if is_gap else "first" if newest_s is None else "stepped"


def _forget(machine: Machine, append_s: float) -> None:
    """Without a reading in order for longer than a warm-up sees, a machine is as if the process had been restarted."""
    if machine.clock.is_older_than(append_s - machine.cadence.warm_up_s):
        machine.empty()
        machine.clock = MachineClock()


def _is_gap(machine: Machine, found: Found, arrival: Arrival, seen_at: datetime) -> bool:
    """Where no reading before is known, only the time at which the episode was last seen tells of a gap."""
    passed_s = (arrival.reading.timestamp - seen_at).total_seconds()
    return found == "gap" or (found == "first" and passed_s > machine.cadence.gap_s)


def _count(machine: Machine, arrival: Arrival) -> None:
    reading, append_s = arrival.reading, arrival.position.appended_ms / 1000
    machine.limits = {
        name: machine.limits[name].count(reading, judge(reading), append_s, machine.cadence.warm_up_s)
        for name, judge in LIMITS.items()
    }
    machine.model = machine.model.count(arrival.score)
    machine.last_seen_at = reading.timestamp
    for name, value in zip(SENSORS, reading.sensor_values(), strict=True):
        if value is not None:
            machine.last_values[name] = value


def judge(machine: Machine, arrival: Arrival) -> Verdict:
    """Rules guard, the model adds: one verdict from the limits, the mean torque and the model's own persistence."""
    torque = machine.window.torque()
    open_limits = {name: counter for name, counter in machine.limits.items() if counter.opens}
    mean_opens = torque is not None and torque.opens
    mean_holds = torque is not None and torque.holds
    overload_nm = max((counter.overload_nm or 0.0 for counter in open_limits.values()), default=0.0)
    modes: list[FailureType] = [MODE_OF_LIMIT[name] for name in open_limits]
    if mean_opens or overload_nm:
        modes.append("Overstrain")
    modes += machine.model.opening(arrival.score)
    violated = any(counter.recent and counter.recent[-1].is_violated for counter in machine.limits.values())
    return Verdict(
        opening=tuple(modes),
        rules_open=bool(open_limits) or mean_opens,
        rules_hold=mean_holds or any(_holds(machine, name) for name in LIMITS),
        model_holds=machine.model.holds,
        score=1.0 if violated or mean_opens else arrival.score.failure if arrival.score else 0.0,
        reasons=_reasons(open_limits, torque, overload_nm, arrival.score),
        model_version=arrival.score.model_version if arrival.score else None,
    )


def _holds(machine: Machine, name: LimitName) -> bool:
    """Whether a limit keeps the episode open. Where its readings do not tell, that of the newest transition speaks: a
    sensor that died is not clear, and what never could be judged holds nothing."""
    holds = machine.limits[name].holds
    if holds is None and machine.episode is not None:
        judgement = LIMITS[name](machine.episode.decided_by)
        return judgement is not None and not judgement.is_inside
    return bool(holds)


def _reasons(
    open_limits: dict[LimitName, LimitCounter], torque: TorqueMean | None, overload_nm: float, score: Score | None
) -> tuple[str, ...]:
    reasons = [
        f"{counter.violations[-1].margin} ({len(counter.violations)} of the last {len(counter.recent)} readings)"
        for counter in open_limits.values()
    ]
    if overload_nm:
        reasons.append(
            f"torque of the violating readings {overload_nm:.1f} Nm, limit {physics.MEAN_TORQUE_LIMIT_NM:g} Nm"
        )
    if torque is not None and torque.opens:
        reasons.append(f"one-minute mean torque {torque.mean_nm:.1f} Nm, limit {physics.MEAN_TORQUE_LIMIT_NM:g} Nm")
    if score is not None and score.failure >= 0.5:
        reasons.append(f"model {score.model_version}: failure probability {score.failure:.2f}, {score.top_mode}")
    return tuple(reasons) or ("every limit is clear again",)
