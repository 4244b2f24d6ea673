"""A TCP proxy on loopback that makes one link slow, thin, mute or broken. All proxies live in one thread's loop."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

HOST = "127.0.0.1"
READ_BYTES = 64 * 1024

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        return self.spawn(work).result(timeout_s)

    def spawn(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True, slots=True)
class Weather:
    """What the link does to bytes. The default passes them at once."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    slice_bytes: int | None = None
    is_black_hole: bool = False  # takes bytes and connections, passes nothing
    is_refusing: bool = False  # nobody listens: every connection is closed at once


CLEAR = Weather()


@dataclass
class Proxy:
    """One link, from `port` to `target_port`. `weather` may change at any time and holds for both directions."""

    loop: Loop
    port: int
    target_port: int
    rng: random.Random
    weather: Weather = CLEAR
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    def start(self) -> None:
        self.loop.run(self._start())

    def stop(self) -> None:
        self.loop.run(self._stop())

    def reset(self) -> int:
        """Cut every open connection with a reset; returns how many sockets."""
        return self.loop.run(self._on_loop(self._reset))

    def set(self, weather: Weather) -> None:
        """A refusing link also cuts what is open; a cleared one cuts what a black hole still holds."""
        had_hole = self.weather.is_black_hole
        self.weather = weather
        if weather.is_refusing or (had_hole and not weather.is_black_hole):
            self.reset()

    async def _on_loop(self, act: Callable[[], T]) -> T:
        return act()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._reset()

    def _reset(self) -> int:
        count = len(self._open)
        for writer in self._open:
            writer.transport.abort()
        return count

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.weather.is_refusing:
            writer.transport.abort()
            return
        try:
            to_target, from_us = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, from_us}
        try:
            await asyncio.gather(self._pump(reader, from_us), self._pump(to_target, writer))
        finally:
            for side in (writer, from_us):
                self._open.discard(side)
                side.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(READ_BYTES):
                await self._pass(block, writer)
            writer.write_eof()
        except OSError:
            writer.transport.abort()  # a killed process resets: the other side must hear of it

    async def _pass(self, block: bytes, writer: asyncio.StreamWriter) -> None:
        weather = self.weather
        while self.weather.is_black_hole:  # noqa: ASYNC110  # it ends by a cut, which cancels this
            await asyncio.sleep(0.05)
        if weather.latency_s:
            await asyncio.sleep(max(0.0, weather.latency_s + self.rng.uniform(-weather.jitter_s, weather.jitter_s)))
        size = weather.slice_bytes or len(block)
        for start in range(0, len(block), size):
            part = block[start : start + size]
            writer.write(part)
            await writer.drain()
            if weather.bytes_per_s:
                await asyncio.sleep(len(part) / weather.bytes_per_s)
            elif weather.slice_bytes:
                await asyncio.sleep(0)
