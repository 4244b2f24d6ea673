"""One simulated machine over time: read it, send, wait for the acknowledgement, tell the truth, sleep. No queue.

A machine's readings stand on a grid: its start plus whole intervals. What Kafka could not take in time is skipped, as
a real machine's time goes on; the next reading carries the present.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from pdm.errors import Retryable
from pdm.events import GroundTruth, Reading
from pdm.simulator.machine import Machine, Operation
from pdm.simulator.orders import Order, Orders
from pdm.simulator.outlet import Outlet
from pdm.simulator.truth import Injection, Witness

RETRY_S = 1.0
WAITING_AFTER_S = 2.0  # an acknowledgement takes milliseconds
FINISH_S = 2.0  # what a record on its way to Kafka gets when its machine is stopped

RunState = Literal["running", "waiting for Kafka", "stopped"]


@dataclass(frozen=True, slots=True)
class Time:
    """The wall clock, s since the epoch, and how to wait. Tests give their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class Run:
    """A machine being simulated. `sent` counts acknowledged readings, `skipped` the instants without one."""

    machine: Machine
    orders: Orders
    rate_hz: float
    outlet: Outlet
    time: Time
    started_s: float
    sent: int = 0
    skipped: int = 0
    last_sent_at: datetime | None = None
    is_stopped: bool = False
    _tick_s: float = 0.0  # elapsed time of the reading in hand, or of the next one while asleep
    _sending_since_s: float | None = None
    _applied: Operation | None = None
    _untold: list[GroundTruth] = field(default_factory=list)
    _witness: Witness = field(init=False)

    def __post_init__(self) -> None:
        self._applied = self.orders.base.operation
        self._witness = Witness(self.machine.machine_id)

    @property
    def state(self) -> RunState:
        if self.is_stopped:
            return "stopped"
        since_s = self._sending_since_s
        return "waiting for Kafka" if since_s is not None and self.time.now() - since_s > WAITING_AFTER_S else "running"

    @property
    def is_sending(self) -> bool:
        return self._sending_since_s is not None

    @property
    def injection(self) -> Injection | None:
        return self._witness.injection

    def at(self, elapsed_s: float) -> datetime:
        return datetime.fromtimestamp(self.started_s + elapsed_s, UTC)

    async def live(self) -> None:
        """Until the last order is over, `is_stopped` is set or the task is cancelled."""
        try:
            while (order := self.orders.in_force(self._tick_s)) is not None:
                await self._turn(order)
                if self.is_stopped:
                    break
                await self._sleep()
            await self.end_truth()
        finally:
            self.is_stopped = True

    async def end_truth(self) -> None:
        """Tell the end of a fault that was still on, once; a refusal is not waited out."""
        if self.last_sent_at is not None:
            self._untold += self._witness.end(self.last_sent_at)
        await self._tell_truth()

    async def _turn(self, order: Order) -> None:
        turn = self.orders.turn  # another order may come while this reading is on its way
        if order.operation is not self._applied:
            self._applied = order.operation
            self.machine.switch(order.operation)
        point = self.machine.advance_to(self._tick_s)
        reading = self.machine.measure(point, self.at(self._tick_s))
        if await self._send(reading):
            self.sent += 1
            self.last_sent_at = reading.timestamp
            self._untold += self._witness.see(order.operation.profile, turn, point, reading.timestamp)
        else:
            self.skipped += 1
        if self._untold:
            await self._tell_truth()

    async def _tell_truth(self) -> None:
        while self._untold and await self._send(self._untold[0]):
            del self._untold[0]

    async def _send(self, value: Reading | GroundTruth) -> bool:
        self._sending_since_s = self._sending_since_s or self.time.now()
        try:
            await self.outlet.send(value)
        except Retryable:
            await self.time.sleep(RETRY_S)
            return False
        self._sending_since_s = None
        return True

    async def _sleep(self) -> None:
        """Until the next instant of the grid that is still to come; what lies behind is skipped."""
        interval_s = 1.0 / self.rate_hz
        late_s = self.time.now() - self.started_s - self._tick_s
        missed = max(0, int(late_s / interval_s))
        self.skipped += missed
        self._tick_s = round(self._tick_s + (missed + 1) * interval_s, 6)  # µs, as the timestamps
        wait_s = self.started_s + self._tick_s - self.time.now()
        # A wall clock that was set back must not stall a machine: its own time goes on at its own pace.
        await self.time.sleep(min(max(wait_s, 0.0), interval_s))
