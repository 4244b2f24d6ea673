"""Sends what must be told: claims rows, asks the verdict, calls the channel, settles. Owns the retries."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from pdm import crash, metrics
from pdm.portal.channels import Channel
from pdm.portal.texts import Locale, alert_line
from pdm.store.notifications import (
    Claim,
    Settled,
    claim_notifications,
    postpone_notification,
    settle_notification,
)
from pdm.store.pool import Pool, transaction
from pdm.verdict import reason_to_drop

CLAIM_LIMIT = 50
SEND_TIMEOUT_S = 20.0
HANDLE_FOR_S = 5.0  # short, for what a killed portal held in hand is told by nobody until its lease is over
LEASE = timedelta(seconds=HANDLE_FOR_S + SEND_TIMEOUT_S)  # nothing is sent once a lease may be over
MAX_ATTEMPTS = 12  # with the delays below: given up after about an hour
POLL_S = 1.0  # for retries, and for rows that another replica left behind; new rows wake the loop at once

log = structlog.get_logger()


def retry_delay(attempts: int) -> timedelta:
    """1 s, 2 s, 4 s … at most 10 minutes."""
    return timedelta(seconds=min(2 ** (attempts - 1), 600))


@dataclass(slots=True)
class Notifier:
    """One loop a process; several processes share the rows."""

    pool: Pool
    channels: Mapping[str, Channel]
    locale: Locale
    now: Callable[[], datetime]
    # Sent, but the database was away when that should have been noted: to be noted first, and not sent again.
    _unnoted: list[tuple[Claim, str]] = field(default_factory=list)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """New rows are committed."""
        self._awake.set()

    async def turn(self) -> None:
        """Wait until woken or until it is time to look; then send what is due."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), POLL_S)
        await self.send_due()

    async def send_due(self) -> None:
        """Send until nothing is due. Raises Retryable when the database is away: the leases then run out."""
        self._awake.clear()
        await self._note_sent()
        while claims := await asyncio.to_thread(self._claim):
            until = time.monotonic() + HANDLE_FOR_S
            for claim in claims:
                if time.monotonic() < until:  # the rest comes back when its lease is over
                    await self._handle(claim)

    def _claim(self) -> list[Claim]:
        with transaction(self.pool) as conn:
            return claim_notifications(conn, CLAIM_LIMIT, LEASE)

    async def _handle(self, claim: Claim) -> None:
        reason = reason_to_drop(claim.event, self.now(), is_open=claim.is_open, is_superseded=claim.is_superseded)
        if reason is not None:
            await self._settle(claim, "dropped", None, reason)
            return
        message = alert_line(claim.event, self.locale, is_open=claim.is_open)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self.channels[claim.channel](message, claim.event)
                crash.reached("portal.after_send")
        except Exception as error:  # noqa: BLE001  # whatever a channel's library raises, the row is tried again
            await self._retry(claim, f"{type(error).__name__}: {error}"[:500])
        else:
            self._unnoted.append((claim, message))
            await self._note_sent()

    async def _note_sent(self) -> None:
        while self._unnoted:
            claim, message = self._unnoted[0]
            await self._settle(claim, "sent", message, "")
            del self._unnoted[0]

    async def _retry(self, claim: Claim, error: str) -> None:
        log.warning("portal.notification_failed", channel=claim.channel, attempts=claim.attempts, error=error)
        if claim.attempts >= MAX_ATTEMPTS:
            await self._settle(claim, "failed", None, error)
            return
        metrics.NOTIFICATIONS.labels(claim.channel, "retried").inc()
        delay = retry_delay(claim.attempts)
        postpone = partial(postpone_notification, claim=claim, delay=delay, error=error)
        await asyncio.to_thread(self._in_transaction, postpone)

    async def _settle(self, claim: Claim, state: Settled, message: str | None, detail: str) -> None:
        settle = partial(settle_notification, claim=claim, state=state, message=message, detail=detail)
        await asyncio.to_thread(self._in_transaction, settle)
        metrics.NOTIFICATIONS.labels(claim.channel, state).inc()

    def _in_transaction(self, write: Callable[..., bool]) -> None:
        with transaction(self.pool) as conn:
            write(conn)
