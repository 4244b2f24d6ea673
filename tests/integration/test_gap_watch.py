"""Offsets that vanish from a real Kafka under a role, and while it is down: written down once, and it goes on."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.desk import Desk
from tests.topic import OwnTopic

from pdm.broker import Batch, Subscription, make_broker, subscribe_batches
from pdm.gap_watch import GapWatch
from pdm.store.pool import Pool, open_pool


@dataclass
class Reader:
    """A role's consumer with a handler that only remembers."""

    desk: Desk
    pool: Pool
    topic: OwnTopic
    read: list[tuple[int, bytes]] = field(default_factory=list)
    begun_anew: list[int] = field(default_factory=list)
    failures: int = 0

    async def handle(self, batch: Batch) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("as a handler does whose database is away")
        self.read += [(record.offset, record.value) for record in batch]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GapWatch]:
        watch = GapWatch("inference", self.topic.name, self.pool, self.handle, on_recreated=self.begun_anew.append)
        subscription = Subscription("inference", watch.__call__, on_committed=watch.begin)
        broker = make_broker(self.desk.settings.kafka, "inference")
        subscribe_batches(broker, subscription, self.topic.name, self.desk.settings.kafka, max_records=100)
        await broker.start()
        try:
            yield watch
            await watch.save()
        finally:
            await broker.stop()

    async def has_read(self, *values: bytes) -> None:
        end = time.monotonic() + 30
        while {value for _, value in self.read}.isdisjoint(values):
            assert time.monotonic() < end, f"{values} did not come"
            await asyncio.sleep(0.05)

    def gaps(self) -> list[tuple[object, ...]]:
        return self.desk.rows(
            "SELECT from_offset, to_offset, reason FROM log_gap WHERE consumer_group = 'pdm.inference'"
            f" AND topic = '{self.topic.name}' ORDER BY appended_at, from_offset DESC"
        )


@pytest.fixture
def reader(desk: Desk) -> Iterator[Reader]:
    pool = open_pool(desk.database.conninfo("inference"), "pdm.test")
    topic = OwnTopic(desk.settings.kafka.bootstrap_servers, f"gap-{secrets.token_hex(4)}")
    asyncio.run(topic.make())
    yield Reader(desk, pool, topic)
    pool.close()


def test_a_restart_where_nothing_vanished_finds_no_gap(reader: Reader) -> None:
    async def scenario() -> None:
        async with reader.running():
            await reader.topic.send(b"1", b"2")
            await reader.has_read(b"2")
        await reader.topic.send(b"3")
        async with reader.running():
            await reader.has_read(b"3")

    asyncio.run(scenario())
    assert reader.gaps() == []
    assert [offset for offset, _ in reader.read] == [0, 1, 2]


def test_retention_that_passed_while_it_was_down_is_told_and_it_goes_on(reader: Reader) -> None:
    async def scenario() -> None:
        async with reader.running():
            await reader.topic.send(b"1", b"2")
            await reader.has_read(b"2")
        await reader.topic.send(b"3", b"4", b"5")
        await reader.topic.delete_before(4)
        reader.failures = 1
        async with reader.running():
            await reader.has_read(b"5")

    asyncio.run(scenario())
    assert reader.gaps() == [(2, 4, "vanished")]
    assert reader.read[-1] == (4, b"5")
    assert reader.begun_anew == []


def test_a_topic_recreated_under_it_is_told_and_read_from_its_beginning(reader: Reader) -> None:
    async def scenario() -> None:
        async with reader.running():
            await reader.topic.send(b"1", b"2", b"3")
            await reader.has_read(b"3")
            await reader.topic.recreate()
            await reader.topic.send(b"anew", b"and on")
            await reader.has_read(b"and on")

    asyncio.run(scenario())
    assert reader.gaps() == [(3, 0, "recreated")]
    assert reader.read[-2:] == [(0, b"anew"), (1, b"and on")]
    assert set(reader.begun_anew) == {0}


def test_a_topic_recreated_while_it_was_down_is_told_by_the_place_that_was_kept(reader: Reader) -> None:
    """Kafka has forgotten the committed offset along with the topic."""

    async def scenario() -> None:
        async with reader.running():
            await reader.topic.send(b"1", b"2", b"3")
            await reader.has_read(b"3")
        await reader.topic.recreate()
        await reader.topic.send(b"anew")
        async with reader.running():
            await reader.has_read(b"anew")

    asyncio.run(scenario())
    assert reader.gaps() == [(3, 0, "recreated")]
    assert reader.begun_anew == [0]
