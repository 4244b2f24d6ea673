"""The portal's eye on the relay: the guard's looks as metrics and health, and the proof that no row was skipped."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from pdm import metrics
from pdm.connect import ConnectorState
from pdm.http import Health
from pdm.portal.health import RelayProbe
from pdm.relay_guard import News, RelayGuard
from pdm.relay_plan import UNREACHABLE
from pdm.store.pool import Pool, transaction
from pdm.store.relay import Slot
from pdm.store.relay_care import Unrelayed, ask_resend, not_taken_in, unrelayed_rows

SLOT_STATUSES = ("reserved", "extended", "unreserved", "lost", "missing")
CONNECTOR_STATES = (
    "running",
    "paused",
    "stopped",
    "failed",
    "restarting",
    "unassigned",
    "missing",
    UNREACHABLE.lower(),
)
COMMITTED_AFTER = timedelta(seconds=60)  # a row may bear its transaction's start: > 15 s of a statement + 30 s idle
ASK_AGAIN_AFTER = timedelta(hours=1)  # rows that a re-send did not bring: another one will hardly do
EVER = datetime(1, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


def report(news: News) -> None:
    """The guard's news as a log line; its own actions are counted where they are done."""
    if news.action is not None:
        if news.is_own:
            metrics.RELAY_ACTIONS.labels(news.action).inc()
            log.warning("relay.action", action=news.action, attempt=news.attempts, trouble=news.trouble)
    elif news.trouble:
        log.warning("relay.trouble", trouble=news.trouble, advice=news.advice)
    else:
        log.info("relay.well")


@dataclass(slots=True)
class RelayWatch:
    """`probe` is fed from the topic of the relay's heartbeat rows."""

    guard: RelayGuard
    probe: RelayProbe

    async def turn(self) -> None:
        await self.guard.turn()
        if self.guard.seen is not None:
            show(self.guard.seen.connector, self.guard.seen.slot)

    async def check(self) -> Health:
        """Never unready: taking the portal out of service would not mend the relay."""
        seen, said = self.guard.seen, [self.probe.told()]
        if seen is not None:
            said.append(_slot_told(seen.slot))
        if trouble := str(self.guard.plan):
            said.append(trouble)
        return Health(True, "; ".join(said))


def show(connector: ConnectorState | None, slot: Slot | None) -> None:
    status = slot.wal_status if slot else "missing"
    for name in SLOT_STATUSES:
        metrics.SLOT_STATUS.labels(name).set(name == status)
    metrics.SLOT_BEHIND.set(slot.behind_bytes if slot else 0)
    state = "missing" if connector is None else "failed" if connector.has_failed else connector.state.lower()
    for name in CONNECTOR_STATES:
        metrics.CONNECTOR_STATE.labels(name).set(name == state)


def _slot_told(slot: Slot | None) -> str:
    return f"slot {slot.wal_status}, {slot.behind_bytes / 2**20:.1f} MiB behind" if slot else "no slot"


@dataclass(slots=True)
class RelayProof:
    """Finds alert rows that the relay skipped: a probe written after they were seen came through, they did not.

    What is committed before the probe begins stands before it in the write-ahead log. Both times are the database's.
    """

    pool: Pool
    newest_probe: Callable[[], datetime | None]
    has_handled_all: Callable[[], Awaitable[bool]]
    now: Callable[[], datetime]
    _looked: Unrelayed | None = None
    _proved_until: datetime = EVER
    _asked: frozenset[str] = field(default_factory=frozenset)
    _asked_at: datetime = EVER

    async def turn(self) -> None:
        """Raises Retryable. Looks only at rows since the last proof; Kafka is asked only when one stays away."""
        if self._looked is not None and not await self._has_judged(self._looked):
            return
        self._looked = looked = await asyncio.to_thread(self._look)
        if not looked.ids:
            self._proved_until = max(self._proved_until, looked.at - COMMITTED_AFTER)

    async def _has_judged(self, looked: Unrelayed) -> bool:
        newest = self.newest_probe()
        if not looked.ids or not await asyncio.to_thread(self._still_missing, looked):
            metrics.UNRELAYED.set(0)
            return True
        if newest is None or newest <= looked.at or not await self.has_handled_all():
            return False  # on their way, perhaps
        missing = await asyncio.to_thread(self._still_missing, looked)
        metrics.UNRELAYED.set(len(missing))
        if missing:
            await self._ask(missing)
        return True

    def _look(self) -> Unrelayed:
        with transaction(self.pool) as conn:
            return unrelayed_rows(conn, self._proved_until)

    def _still_missing(self, looked: Unrelayed) -> Sequence[str]:
        with transaction(self.pool) as conn:
            return not_taken_in(conn, looked.ids)

    async def _ask(self, missing: Sequence[str]) -> None:
        now = self.now()
        if self._asked.issuperset(missing) and now - self._asked_at < ASK_AGAIN_AFTER:
            return
        self._asked, self._asked_at = frozenset(missing), now
        reason = f"{len(missing)} rows of the outbox never came through, later ones did"
        log.error("relay.rows_skipped", rows=len(missing), first=missing[0])
        await asyncio.to_thread(self._note, reason)

    def _note(self, reason: str) -> None:
        with transaction(self.pool) as conn:
            ask_resend(conn, reason)
