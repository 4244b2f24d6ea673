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
from pdm.inference.episode import START, Change, Episode, Position, Verdict, close_by_gap, decide
from pdm.inference.rules import LIMITS, MODE_OF_LIMIT, LimitCounter, LimitName
from pdm.inference.scores import ModelCounter, Score
from pdm.inference.window import Sample, TorqueMean, Window


@dataclass(frozen=True, slots=True)
class Cadence:
    """What the slowest expected sending interval means for windows and gaps, s."""

    window_s: float
    gap_s: float
    warm_up_s: float

    @classmethod
    def of(cls, max_interval_s: float) -> "Cadence":
        window_s = max(60.0, 12 * max_interval_s)
        return cls(window_s=window_s, gap_s=window_s, warm_up_s=max(90.0, 18 * max_interval_s))


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
        return cls(machine_id, cadence, Window(cadence.window_s))

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
    before, is_first = machine.last_seen_at, machine.clock.newest_s is None
    found = observe(machine, arrival)
    if found == "ignored" or arrival.position <= machine.decided:
        return None  # a replay: the database already has what this reading decided
    if machine.episode is not None and (found == "gap" or (is_first and _is_long_after(machine, arrival.reading))):
        seen_at = before or machine.episode.last_seen_at
        change: Change | None = close_by_gap(machine.episode, seen_at, arrival.reading, arrival.position)
    else:
        verdict = judge(machine, arrival)
        machine.score = verdict.score
        change = decide(machine.episode, verdict, arrival.reading, arrival.position)
    if change is not None:
        machine.episode = change.episode if change.closed_at is None else None
        machine.decided = change.position
    return change


def observe(machine: Machine, arrival: Arrival) -> Literal["stepped", "gap", "ignored"]:
    """Step windows and counters only, as warm-up does. `gap`: readings were missing, so all was emptied first."""
    reading = arrival.reading
    timestamp_s = reading.timestamp.timestamp()
    if machine.window.holds(timestamp_s):
        return "ignored"
    newest_s = machine.clock.newest_s
    effective_s, place = machine.clock.place(timestamp_s, arrival.position.appended_ms / 1000)
    if place == "old":
        return "ignored"
    is_gap = place == "next" and newest_s is not None and effective_s - newest_s > machine.cadence.gap_s
    if is_gap:
        machine.limits = {name: LimitCounter() for name in LIMITS}
        machine.model = ModelCounter()
    if is_gap or place == "jumped":
        machine.window.clear()
    machine.window.add(Sample(effective_s, timestamp_s, reading))
    if place != "recent":
        _count(machine, arrival)
    return "gap" if is_gap else "stepped"


def _is_long_after(machine: Machine, reading: Reading) -> bool:
    """The warm-up found no reading, so only the stored episode tells of a gap in which the process was restarted."""
    episode = machine.episode
    return episode is not None and (reading.timestamp - episode.last_seen_at).total_seconds() > machine.cadence.gap_s


def _count(machine: Machine, arrival: Arrival) -> None:
    reading = arrival.reading
    machine.limits = {name: machine.limits[name].count(reading, judge(reading)) for name, judge in LIMITS.items()}
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
        rules_hold=mean_holds or any(not counter.is_released for counter in machine.limits.values()),
        model_holds=machine.model.holds,
        score=1.0 if violated or mean_opens else arrival.score.failure if arrival.score else 0.0,
        reasons=_reasons(open_limits, torque, overload_nm, arrival.score),
        model_version=arrival.score.model_version if arrival.score else None,
    )


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
