"""Step a batch and commit what it decided, in one transaction: nothing else leaves a trace."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import structlog

from pdm import crash, metrics
from pdm.events import SENSORS, VERIFY_PREFIX, AlertEvent, FailureType, Reading, Severity
from pdm.inference.episode import START, Change, Episode, Position
from pdm.inference.machine import Arrival, Cadence, Machine, step
from pdm.inference.partition import Partition
from pdm.inference.shown import stored_features
from pdm.store import episodes
from pdm.store.episodes import EpisodeChange, StoredMachine, Touch
from pdm.store.pool import Connection, Pool, transaction

TOUCH_EVERY = timedelta(seconds=10)

log = structlog.get_logger()


@dataclass(slots=True)
class Stepped:
    """One machine in one batch: its state before (never changed) and after, and what it decided on the way."""

    partition: Partition
    before: Machine
    arrivals: list[Arrival]
    after: Machine
    changes: list[EpisodeChange] = field(default_factory=list)


def step_and_commit(
    pool: Pool,
    partitions: Mapping[int, Partition],
    arrivals: Mapping[int, Sequence[Arrival]],
    cadence: Cadence,
    now: Callable[[], datetime],
) -> list[Stepped]:
    """Raises Retryable with nothing changed; the states to install once it returns. Machines go in id order."""
    items = [
        Stepped(partition, before, machine_arrivals, before.fork())
        for number, partition in partitions.items()
        for before, machine_arrivals in _by_machine(partition, arrivals[number], cadence)
    ]
    items.sort(key=lambda item: item.after.machine_id)
    if new := [item for item in items if not item.after.is_loaded]:
        with transaction(pool) as conn:
            _load(conn, new)
    for item in items:
        _step(item, now)
    crash.reached("inference.after_step")
    _commit(pool, items, now)
    return items


def _by_machine(
    partition: Partition, arrivals: Sequence[Arrival], cadence: Cadence
) -> list[tuple[Machine, list[Arrival]]]:
    grouped: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        grouped.setdefault(arrival.reading.machine_id, []).append(arrival)
    return [(partition.machines.get(key) or Machine.new(key, cadence), group) for key, group in grouped.items()]


def _load(conn: Connection, items: Sequence[Stepped]) -> None:
    """Take over what the database knows; a machine that it does not know, or no longer, is made known first."""
    episodes.add_machines(conn, {item.after.machine_id: item.arrivals[-1].reading.product_type for item in items})
    stored = {row.machine_id: row for row in episodes.load_machines(conn, [item.after.machine_id for item in items])}
    for item in items:
        _take_over(item.after, stored[item.after.machine_id])


def _take_over(machine: Machine, stored: StoredMachine) -> None:
    """The database's word on the open episode and the newest transition replaces the machine's own."""
    machine.is_loaded = True
    if stored.changed_appended_at is not None:
        machine.decided = _position(stored.changed_appended_at, stored.changed_offset)
    machine.episode = None
    if stored.episode_id is not None and stored.seq is not None and stored.opened_at and stored.last_seen_at:
        known = stored.reading or {}
        machine.episode = Episode(
            episode_id=stored.episode_id,
            machine_id=stored.machine_id,
            seq=stored.seq,
            failure_types=cast("tuple[FailureType, ...]", tuple(stored.failure_types or ())),
            severity=cast("Severity", stored.severity),
            opened_at=stored.opened_at,
            last_seen_at=stored.last_seen_at,
            decided_by=Reading(
                stored.machine_id,
                stored.last_seen_at,
                *(known.get(name) for name in (*SENSORS, "product_type")),
            ),
        )


def _step(item: Stepped, now: Callable[[], datetime]) -> None:
    for arrival in item.arrivals:
        if (change := step(item.after, arrival)) is not None:
            item.changes.append(_to_store(change, item.after, now()))


def _commit(pool: Pool, items: Sequence[Stepped], now: Callable[[], datetime]) -> None:
    if not any(item.changes or _touch(item) for item in items):
        return
    with transaction(pool) as conn:
        written = [change for item in items for change in _write(conn, item, now)]
        touches = {id(item): touch for item in items if (touch := _touch(item))}
        episodes.touch_episodes(conn, touches.values())
        crash.reached("inference.before_db_commit")
    crash.reached("inference.after_db_commit")
    for item in items:
        if item.after.episode and (touch := touches.get(id(item))):
            item.after.episode = replace(item.after.episode, last_seen_at=touch.last_seen_at)
    for change in written:
        _tell(change.event)


def _touch(item: Stepped) -> Touch | None:
    """What to note of an open episode: every ten seconds, and as soon as it has another type."""
    episode, seen_at = item.after.episode, item.after.last_seen_at
    if episode is None or seen_at is None:
        return None
    is_due = abs(seen_at - episode.last_seen_at) >= TOUCH_EVERY
    if not is_due and _stored_types(item) == episode.failure_types:
        return None
    return Touch(episode.episode_id, episode.seq, seen_at, episode.failure_types)


def _stored_types(item: Stepped) -> tuple[FailureType, ...]:
    if item.changes:
        return tuple(item.changes[-1].event.failure_types)
    return item.before.episode.failure_types if item.before.episode else ()


def _write(conn: Connection, item: Stepped, now: Callable[[], datetime]) -> list[EpisodeChange]:
    """Write a machine's transitions in log order. One that is refused never fails the batch.

    Refused means that another owner of the partition was here: take over the database's episode, keep the windows, step
    the batch once more. A reading whose transition is refused again decides nothing; those after it go on.
    """
    written: list[EpisodeChange] = []
    refusals: set[Position] = set()
    skipped = START
    while (refused := _first_refused(conn, item.changes, written)) is not None:
        metrics.TRANSITIONS_SKIPPED.inc()
        log.warning("inference.transition_refused", machine_id=item.after.machine_id)
        skipped = max(skipped, refused) if refused in refusals else skipped
        refusals.add(refused)
        item.after, item.changes = item.before.fork(), []
        _load(conn, [item])
        item.after.decided = max(item.after.decided, skipped)
        _step(item, now)
    return written


def _first_refused(conn: Connection, changes: Sequence[EpisodeChange], written: list[EpisodeChange]) -> Position | None:
    """Write up to the first that is refused, and return its place in the log."""
    for change in changes:
        if not episodes.write_change(conn, change):
            return _position(change.event.appended_at, change.offset)
        written.append(change)
    return None


def _position(appended_at: datetime, offset: int) -> Position:
    return Position(round(appended_at.timestamp() * 1000), offset)


def _to_store(change: Change, machine: Machine, detected_at: datetime) -> EpisodeChange:
    episode = change.episode
    return EpisodeChange(
        event=AlertEvent(
            machine_id=episode.machine_id,
            failure_type=episode.failure_type,
            timestamp=change.timestamp.astimezone(UTC),
            version=1,
            event=change.event,
            episode_id=str(episode.episode_id),
            seq=episode.seq,
            severity=episode.severity,
            appended_at=datetime.fromtimestamp(change.position.appended_ms / 1000, UTC),
            score=change.score,
            failure_types=list(episode.failure_types),
            reasons=list(change.reasons),
            model_version=change.model_version,
            detected_at=detected_at,
            skew_s=round(machine.clock.skew_s, 3) if machine.clock.is_skewed else 0.0,
        ),
        event_id=change.event_id,
        offset=change.position.offset,
        reading=msgspec.to_builtins(change.reading),
        features=stored_features(machine, change.reading),
        last_seen_at=episode.last_seen_at,
        closed_at=change.closed_at,
        close_reason=change.close_reason,
        source="verify" if episode.machine_id.startswith(VERIFY_PREFIX) else "live",
    )


def _tell(event: AlertEvent) -> None:
    metrics.TRANSITIONS.labels(event.event, event.failure_type).inc()
    metrics.DETECT_SECONDS.observe(max(0.0, (event.detected_at - event.appended_at).total_seconds()))
    log.info(
        "inference.episode_changed",
        machine_id=event.machine_id,
        event_name=event.event,
        failure_type=event.failure_type,
        severity=event.severity,
        episode_id=event.episode_id,
        seq=event.seq,
    )
