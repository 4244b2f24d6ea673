"""Server-sent events, fanned out: one reader of `event_log` a process, any number of pages. Writes nothing.

An event of the log carries its id, so that a page which comes back gets what it missed. Live values carry none.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field

from sse_starlette import ServerSentEvent
from starlette.concurrency import run_in_threadpool

import pdm
from pdm.runtime import repeat
from pdm.store.event_log import LoggedEvent, LogSpan, events_after, log_span
from pdm.store.pool import Pool, transaction

POLL_S = 0.25  # events of other replicas; those of this one wake the feed at once
READ_LIMIT = 100
CATCH_UP_MAX = 2_000  # beyond it a page is quicker to load afresh
QUEUE_LIMIT = 1_000  # a page that is further behind is cut off; it comes back and resumes by its last id
VALUES_QUEUE_LIMIT = 8  # newer values follow, so a slow page may lack some


@dataclass(frozen=True, slots=True)
class Message:
    """One event as it goes over the wire; `id` 0 for live values."""

    id: int
    wire: bytes


@dataclass(slots=True, eq=False)
class Client:
    """One open page."""

    queue: asyncio.Queue[Message | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))
    needs_all_values: bool = True
    is_cut: bool = False

    def offer(self, message: Message | None) -> None:
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.is_cut = True


@dataclass(slots=True)
class Feed:
    pool: Pool
    clients: set[Client] = field(default_factory=set)
    _last_id: int | None = None
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    _is_closed: bool = False

    def wake(self) -> None:
        """New events are committed."""
        self._awake.set()

    async def run(self) -> None:
        """Follow the log until cancelled; then end every stream, so that no open page holds up the process."""
        try:
            await repeat("portal", "feed", 0, self._turn)
        finally:
            self._is_closed = True
            for client in self.clients:
                client.offer(None)

    async def open(self, last_id: int | None) -> AsyncGenerator[bytes, None]:
        """What a page gets: everything after `last_id`, then what happens. None: from now on. Raises Retryable."""
        client = Client()
        self.clients.add(client)
        try:
            missed = await self._catch_up(last_id)
        except BaseException:
            self.clients.discard(client)
            raise
        return self._stream(client, missed)

    async def _stream(self, client: Client, missed: list[Message]) -> AsyncGenerator[bytes, None]:
        try:
            for message in missed:
                yield message.wire
            last_id = missed[-1].id if missed else 0
            while not self._is_closed and not client.is_cut:
                item = await client.queue.get()
                if item is None:
                    return
                if not item.id or item.id > last_id:
                    yield item.wire
        finally:
            self.clients.discard(client)

    def send_values(self, changed: bytes | None, everything: bytes) -> None:
        """Hand live values on: only `changed` to pages that have had `everything` before; None: nothing changed."""
        for client in self.clients:
            wire = everything if client.needs_all_values else changed
            if client.queue.qsize() >= VALUES_QUEUE_LIMIT:
                client.needs_all_values = True
            elif wire is not None:
                client.offer(Message(0, wire))
                client.needs_all_values = False

    async def _turn(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), POLL_S)
        self._awake.clear()
        position = self._last_id
        if position is None:
            position = self._begin_at(await asyncio.to_thread(self._span))
        while events := await asyncio.to_thread(self._after, position):
            for message in map(_message, events):
                for client in self.clients:
                    client.offer(message)
            position = self._last_id = events[-1].id
            self.clients -= {client for client in self.clients if client.is_cut}

    async def _catch_up(self, last_id: int | None) -> list[Message]:
        """Up to now. The client is known to `_turn` already: what is committed from here on comes through its queue."""
        span = await run_in_threadpool(self._span)
        self._begin_at(span)
        if last_id is None:
            last_id = span.newest
        if not span.can_resume_after(last_id) or span.newest - last_id > CATCH_UP_MAX:
            return [_notice("reset", span.newest)]
        missed = [_notice("hello", last_id)]
        while events := await run_in_threadpool(self._after, missed[-1].id):
            missed += map(_message, events)
        return missed

    def _begin_at(self, span: LogSpan) -> int:
        """Where the feed starts: never after what the first page has read, or events between would reach nobody."""
        if self._last_id is None:
            self._last_id = span.newest
        return self._last_id

    def _span(self) -> LogSpan:
        with transaction(self.pool) as conn:
            return log_span(conn)

    def _after(self, last_id: int) -> list[LoggedEvent]:
        with transaction(self.pool) as conn:
            return events_after(conn, last_id, READ_LIMIT)


def encode_event(kind: str, data: str, event_id: int | None = None) -> bytes:
    """`event_id` is what the page sends back when it returns."""
    return ServerSentEvent(data, event=kind, id=str(event_id) if event_id is not None else None).encode()


def _message(event: LoggedEvent) -> Message:
    return Message(event.id, encode_event(event.kind, event.payload, event.id))


def _notice(kind: str, event_id: int) -> Message:
    """`hello`: the stream stands, by which version. `reset`: events are missing, load the state afresh."""
    return Message(event_id, encode_event(kind, f'{{"version":"{pdm.__version__}"}}', event_id))
