"""Fakes at the simulator's edges: a Kafka that can be away, and a wall clock that moves only when somebody sleeps."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pdm.broker import make_broker
from pdm.config import KafkaSettings
from pdm.errors import Retryable
from pdm.events import GroundTruth, Reading
from pdm.simulator.fleet import Caps, Fleet
from pdm.simulator.handler import Time
from pdm.simulator.outlet import Outlet

START_S = 1_762_517_400.0


@dataclass
class FakeClock:
    now_s: float = START_S
    slept_s: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    @property
    def time(self) -> Time:
        return Time(self.now, self.sleep)


class FakeOutlet(Outlet):
    """Keeps what was acknowledged. `back` cleared: it answers nothing. `refuses`: as a producer not connected does."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(make_broker(KafkaSettings(), "simulator"))
        self.clock = clock
        self.taken: list[Reading | GroundTruth] = []
        self.latency_s = 0.0
        self.refuses = False
        self.back = asyncio.Event()
        self.back.set()

    async def send(self, value: Reading | GroundTruth) -> None:
        if self.refuses:
            raise Retryable("not connected to Kafka")
        await self.back.wait()
        self.clock.now_s += self.latency_s
        self.taken.append(value)

    @property
    def readings(self) -> list[Reading]:
        return [value for value in self.taken if isinstance(value, Reading)]

    @property
    def truth(self) -> list[GroundTruth]:
        return [value for value in self.taken if isinstance(value, GroundTruth)]


async def all_ended(fleet: Fleet) -> None:
    """Until every machine that runs now has come to its end by itself."""
    await asyncio.wait(fleet._tasks.values())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outlet(clock: FakeClock) -> FakeOutlet:
    return FakeOutlet(clock)


@pytest.fixture
def fleet(outlet: FakeOutlet, clock: FakeClock) -> Fleet:
    return Fleet(outlet, Caps(max_machines=3, max_rate_hz=10.0, min_rate_hz=0.2), clock.time, draw_seed=lambda: 7)
