"""Machines that send to the real Kafka and keep the ledger: what was acknowledged, and where in the log it stands."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from pdm.audit import Sent, Trouble
from pdm.config import RAW_TOPIC
from pdm.events import Reading, encode
from tests.faults.machines import Machine

RETRY_S = 0.3
RECENT = 300
REQUEST_TIMEOUT_MS = 5_000

Twist = Callable[[Reading], Sequence[Reading]]
"""What really goes out instead of one reading: twice, later, in another order. Called once a reading, in order."""


def straight(reading: Reading) -> Sequence[Reading]:
    return (reading,)


@dataclass
class Sender:
    """Each machine awaits one acknowledgement before its next reading, and repeats until there is one.

    So a record may stand in the log twice when an acknowledgement got lost: at least once, as a real gateway sends.
    """

    bootstrap_servers: str
    machines: Sequence[Machine]
    rate_hz: float
    twist_for: Callable[[Machine], Twist] = lambda _: straight
    clock_offset: timedelta = timedelta(0)
    ledger: list[Sent] = field(default_factory=list)
    recent: "deque[Reading]" = field(default_factory=lambda: deque(maxlen=RECENT))  # acknowledged, newest last
    retries: int = 0
    _producer: AIOKafkaProducer | None = None
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @property
    def troubles(self) -> list[Trouble]:
        return [trouble for machine in self.machines for trouble in machine.troubles]

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers,
            acks="all",
            linger_ms=5,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=100,
            metadata_max_age_ms=2_000,
        )
        await self._producer.start()
        self._tasks = [asyncio.create_task(self._live(machine, number)) for number, machine in enumerate(self.machines)]

    async def finish(self) -> None:
        """Let every burst end and its episode clear, then stop."""
        for machine in self.machines:
            machine.is_ending = True
        await asyncio.gather(*self._tasks)
        await self.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def send_raw(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()
    ) -> None:
        """One record as it is, with no entry in the ledger."""
        assert self._producer is not None
        await self._producer.send_and_wait(RAW_TOPIC, value, key=key, headers=headers)

    def forget_until_now(self) -> None:
        """Of a log that lost records: only what is sent from here on must be found."""
        self.ledger.clear()

    async def _live(self, machine: Machine, number: int) -> None:
        interval_s = 1 / self.rate_hz
        twist = self.twist_for(machine)
        due_s = time.monotonic() + interval_s * number / len(self.machines)
        while not machine.is_at_rest:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + interval_s, time.monotonic())
            for reading in twist(machine.read(datetime.now(UTC) + self.clock_offset)):
                await self._deliver(reading)

    async def _deliver(self, reading: Reading) -> None:
        key, value = reading.machine_id.encode(), encode(reading)
        while True:
            try:
                assert self._producer is not None
                placed = await self._producer.send_and_wait(RAW_TOPIC, value, key=key)
            except KafkaError:
                self.retries += 1
                await asyncio.sleep(RETRY_S)
            else:
                self.ledger.append(Sent(reading.machine_id, reading.timestamp, placed.partition, placed.offset))
                self.recent.append(reading)
                return


def make_machines(prefix: str, count: int, rng: random.Random, *, has_bursts: bool = True) -> list[Machine]:
    return [Machine(f"{prefix}{number:03d}", random.Random(rng.getrandbits(64)), has_bursts) for number in range(count)]
