"""Episodes: one span of trouble of one machine, opened, escalated, eased and cleared by its readings. Pure.

Identity comes from what opened it, so that a replay of the log gives the same episode and the same outbox ids.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pdm.events import FailureType, Reading, Severity, Transition
from pdm.inference.rules import PRECEDENCE

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:pdm:episode")

CloseReason = Literal["cleared", "gap"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where in the log a reading stands: append time first, so that a recreated topic goes on upwards."""

    appended_ms: int
    offset: int


START = Position(-1, -1)


@dataclass(frozen=True, slots=True)
class Episode:
    """An open episode as the database has it."""

    episode_id: UUID
    machine_id: str
    seq: int
    failure_types: tuple[FailureType, ...]  # all so far, highest first
    severity: Severity
    opened_at: datetime
    last_seen_at: datetime
    decided_by: Reading  # the reading of its newest transition

    @property
    def failure_type(self) -> FailureType:
        return self.failure_types[0]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules and model say of a machine at one reading."""

    opening: tuple[FailureType, ...]  # modes that would open an episode now
    rules_open: bool  # a limit or the mean rule would open an episode now
    rules_hold: bool  # a limit or the mean rule is not yet released
    model_holds: bool
    score: float  # 0 well … 1 surely failing
    reasons: tuple[str, ...]
    model_version: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One transition: the episode after it, and the reading that caused it."""

    event: Transition
    episode: Episode
    position: Position
    timestamp: datetime
    reading: Reading
    score: float
    reasons: tuple[str, ...]
    model_version: str | None
    closed_at: datetime | None = None
    close_reason: CloseReason | None = None

    @property
    def event_id(self) -> UUID:
        """Id of the outbox row, and so of the event on the topic."""
        return uuid5(self.episode.episode_id, str(self.episode.seq))


def episode_id(machine_id: str, opening: datetime, appended_ms: int) -> UUID:
    """Append time is in it, for a clock that is set back can give a second opening the timestamp of an earlier one."""
    return uuid5(_NAMESPACE, f"{machine_id} {opening.timestamp():.6f} {appended_ms}")


def decide(episode: Episode | None, verdict: Verdict, reading: Reading, position: Position) -> Change | None:
    """The transition that this reading causes, if any."""
    if episode is None:
        return _open(verdict, reading, position) if verdict.opening else None
    if not (verdict.rules_hold or verdict.model_holds):
        closed_at = reading.timestamp
        return _change("cleared", episode, verdict, reading, position, closed_at=closed_at, close_reason="cleared")
    known = replace(with_types(episode, verdict.opening), severity=_severity(verdict, episode.severity))
    if known.failure_type != episode.failure_type or (known.severity, episode.severity) == ("critical", "warning"):
        return _change("escalated", known, verdict, reading, position)
    if (known.severity, episode.severity) == ("warning", "critical"):
        return _change("eased", known, verdict, reading, position)
    return None


def with_types(episode: Episode, more: tuple[FailureType, ...]) -> Episode:
    """All types so far. A lower one than the highest is no transition: the next event tells it."""
    return replace(episode, failure_types=_ordered(episode.failure_types, more))


def close_by_gap(episode: Episode, last_seen_at: datetime, reading: Reading, position: Position) -> Change:
    """No readings came for too long: the episode ends where they stopped. `reading` is the first after the gap."""
    silent_s = (reading.timestamp - last_seen_at).total_seconds()
    verdict = Verdict((), False, False, False, 0.0, (f"no reading for {silent_s:,.0f} s",), None)
    return _change("cleared", episode, verdict, reading, position, closed_at=last_seen_at, close_reason="gap")


def _open(verdict: Verdict, reading: Reading, position: Position) -> Change:
    episode = Episode(
        episode_id=episode_id(reading.machine_id, reading.timestamp, position.appended_ms),
        machine_id=reading.machine_id,
        seq=0,
        failure_types=_ordered((), verdict.opening),
        severity=_severity(verdict, "warning"),
        opened_at=reading.timestamp,
        last_seen_at=reading.timestamp,
        decided_by=reading,
    )
    return _change("opened", episode, verdict, reading, position)


def _change(
    event: Transition,
    episode: Episode,
    verdict: Verdict,
    reading: Reading,
    position: Position,
    *,
    closed_at: datetime | None = None,
    close_reason: CloseReason | None = None,
) -> Change:
    if closed_at is not None:
        closed_at = max(closed_at, episode.opened_at)  # the clock may have been set back meanwhile
    return Change(
        event=event,
        episode=replace(episode, seq=episode.seq + 1, last_seen_at=closed_at or reading.timestamp, decided_by=reading),
        position=position,
        timestamp=reading.timestamp,
        reading=reading,
        score=verdict.score,
        reasons=verdict.reasons,
        model_version=verdict.model_version,
        closed_at=closed_at,
        close_reason=close_reason,
    )


def _severity(verdict: Verdict, so_far: Severity) -> Severity:
    """Critical from a rule's violation until every rule is released; warning while the model alone holds."""
    is_critical = verdict.rules_open or (so_far == "critical" and verdict.rules_hold)
    return "critical" if is_critical else "warning"


def _ordered(so_far: tuple[FailureType, ...], more: tuple[FailureType, ...]) -> tuple[FailureType, ...]:
    return tuple(mode for mode in PRECEDENCE if mode in so_far or mode in more)
