"""Takes batches of alert events in: one transaction each, then wakes those who tell people and pages."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from pdm import crash, metrics
from pdm.broker import Batch
from pdm.events import encode
from pdm.portal.records import Unusable, read_record
from pdm.retry import within_budget
from pdm.store.event_log import append_events, lock_event_log
from pdm.store.inbox import Incoming, add_to_inbox, apply_to_alerts
from pdm.store.notifications import add_notifications
from pdm.store.pool import Connection, Pool, transaction
from pdm.verdict import is_worth_telling

ALERT_KIND = "alert"
SKIPPED_SHOWN = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What one batch changed. `applied`: in log order, the events that were newer than what was known."""

    applied: list[Incoming]
    stale: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class AlertHandler:
    pool: Pool
    channels: Sequence[str]
    on_committed: Callable[[], None]

    async def __call__(self, batch: Batch) -> None:
        """Raises when the database stays away for longer than the budget: the batch is then delivered again."""
        incoming = _usable(batch)
        if not incoming:
            return
        taken = await asyncio.to_thread(within_budget, lambda: self._store(incoming))
        crash.reached("portal.after_db_commit")
        self.on_committed()
        _count(taken)

    def _store(self, incoming: Sequence[Incoming]) -> TakenIn:
        with transaction(self.pool) as conn:
            taken = take_in(conn, incoming, self.channels)
            crash.reached("portal.before_db_commit")
        return taken


def take_in(conn: Connection, incoming: Sequence[Incoming], channels: Iterable[str]) -> TakenIn:
    """Inbox, alerts, notifications and event log, all or nothing; a repeated event changes none of them."""
    lock_event_log(conn)
    fresh = add_to_inbox(conn, incoming)
    applied = apply_to_alerts(conn, fresh)
    # All that is fresh, also behind a newer event: a relay that starts over may send an episode's events in any order.
    add_notifications(conn, [item for item in fresh if is_worth_telling(item.event)], channels)
    append_events(conn, ALERT_KIND, [encode(item.event).decode() for item in applied])
    return TakenIn(applied, stale=len(fresh) - len(applied), duplicates=len(incoming) - len(fresh))


def _usable(batch: Batch) -> list[Incoming]:
    """A burst of unusable records is one line, with the first of them."""
    read = [(record, read_record(record)) for record in batch]
    skipped = [(record, item.reason) for record, item in read if isinstance(item, Unusable)]
    if skipped:
        metrics.ALERT_EVENTS.labels("skipped").inc(len(skipped))
        first = [f"{record.partition}/{record.offset}: {reason}" for record, reason in skipped[:SKIPPED_SHOWN]]
        log.error("portal.records_skipped", topic=batch[0].topic, records=len(skipped), first=first)
    return [item for _, item in read if isinstance(item, Incoming)]


def _count(taken: TakenIn) -> None:
    now = datetime.now(UTC)
    metrics.ALERT_EVENTS.labels("applied").inc(len(taken.applied))
    metrics.ALERT_EVENTS.labels("stale").inc(taken.stale)
    metrics.ALERT_EVENTS.labels("duplicate").inc(taken.duplicates)
    for item in taken.applied:
        metrics.ALERT_SECONDS.observe(max(0.0, (now - item.event.appended_at).total_seconds()))
    log.info("portal.events_taken_in", applied=len(taken.applied), stale=taken.stale, duplicates=taken.duplicates)
