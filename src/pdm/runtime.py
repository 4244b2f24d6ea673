"""The life of a role's process: start, watch, stop within a bound. Owns no logic of any role."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvicorn
from aiokafka.errors import KafkaError
from fastapi import FastAPI
from faststream.kafka import KafkaBroker

from pdm import metrics
from pdm.broker import GRACEFUL_STOP_S
from pdm.config import RoleName
from pdm.errors import PdmError, Retryable
from pdm.server import make_server

STOP_S = GRACEFUL_STOP_S + 5.0  # < 30 s orchestrator grace
RECONNECT_S = 2.0
MEASURE_S = 5.0
FAILED_PAUSE_S = 1.0  # a task that waits inside its turn would spin on an error before the wait

log = structlog.get_logger()

Task = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Role:
    """Everything that lives as long as the process. `background` tasks end only by cancellation.

    On stopping, `drain` runs first, while Kafka is still connected, and `close` last. Both end within a few seconds.
    """

    name: RoleName
    http: FastAPI
    broker: KafkaBroker
    background: Mapping[str, Task] = field(default_factory=dict)
    drain: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None


async def run_role(role: Role, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises what a background task died of: the process must end then."""
    server = make_server(role.http, host, port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = {
        asyncio.create_task(server.serve(), name="http"),
        asyncio.create_task(_start_broker(role.broker), name="broker"),
        *(asyncio.create_task(task(), name=name) for name, task in role.background.items()),
    }
    stopped = asyncio.create_task(stop.wait(), name="stop")
    _calm_garbage_collector()
    try:
        await _wait_for_end(tasks, stopped)
    finally:
        stopped.cancel()
        await _stop_within_bound(role, server, tasks)


async def _wait_for_end(tasks: set[asyncio.Task[None]], stopped: asyncio.Task[bool]) -> None:
    """Return when asked to stop; raise when a task that should live for ever has ended."""
    waiting: set[asyncio.Task[Any]] = {*tasks, stopped}
    while stopped not in (done := (await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))[0]):
        for task in done:
            task.result()
            if task.get_name() != "broker":  # connecting ends well: its consumers go on by themselves
                raise PdmError(f"the task {task.get_name()} ended by itself", hint="The log above tells why.")
        waiting -= done


async def _stop_within_bound(role: Role, server: uvicorn.Server, tasks: set[asyncio.Task[None]]) -> None:
    try:
        async with asyncio.timeout(STOP_S):
            await _stop(role, server, tasks)
    except TimeoutError:
        log.error("role.stop_abandoned", after_s=STOP_S)  # what was in hand is delivered again
    else:
        log.info("role.stopped")


async def _stop(role: Role, server: uvicorn.Server, tasks: set[asyncio.Task[None]]) -> None:
    """Intake first, then the background, then HTTP, so that health and metrics are served to the end."""
    log.info("role.stopping")
    if role.drain is not None:
        await role.drain()
    await role.broker.stop()
    for task in tasks:
        if task.get_name() != "http":
            task.cancel()
    server.should_exit = True
    await asyncio.gather(*tasks, return_exceptions=True)
    if role.close is not None:
        await role.close()


async def _start_broker(broker: KafkaBroker) -> None:
    """Connect, however long Kafka takes to come up: an absent engine makes a role unready, never dead."""
    while True:
        try:
            await broker.start()
        except (KafkaError, OSError) as error:
            log.warning("broker.unreachable", error=str(error), retry_in_s=RECONNECT_S)
            await broker.stop()
            await asyncio.sleep(RECONNECT_S)
        else:
            log.info("broker.connected")
            return


async def repeat(role: RoleName, name: str, interval_s: float, turn: Callable[[], Awaitable[None]]) -> None:
    """Run `turn` for ever. One that fails is counted, told and tried again: it never ends the role.

    That goes for our own mistakes too: housekeeping that is broken must not stop readings from being stored. It is
    loud: an error with its traceback, and a last success that grows old.
    """
    last_success = metrics.BACKGROUND_LAST_SUCCESS.labels(role, name)
    while True:
        pause_s = interval_s
        try:
            await turn()
        except Exception as error:  # noqa: BLE001  # told below, and the next turn may end well
            pause_s = max(interval_s, FAILED_PAUSE_S)
            metrics.BACKGROUND_FAILURES.labels(role, name).inc()
            _tell_failure(name, error, pause_s)
        else:
            last_success.set_to_current_time()
        await asyncio.sleep(pause_s)


def _tell_failure(name: str, error: Exception, retry_in_s: float) -> None:
    if isinstance(error, Retryable):
        log.warning("background.failed", task=name, error=str(error), retry_in_s=retry_in_s)
    else:
        log.error("background.broken", task=name, error=repr(error), retry_in_s=retry_in_s, exc_info=error)


def _calm_garbage_collector() -> None:
    """Start-up objects live for ever: without this, collecting them costs a third of the batch path's speed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
