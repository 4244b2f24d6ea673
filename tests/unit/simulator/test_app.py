"""The role wired as it runs, on FastStream's in-memory broker: what really stands on the topics."""

import asyncio

import msgspec
import pytest
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber, UnknownTopicOrPartitionError
from faststream.kafka import KafkaMessage, TestKafkaBroker

from pdm.config import RAW_TOPIC, TRUTH_TOPIC, HttpSettings, Settings
from pdm.errors import Misconfigured, Retryable
from pdm.events import GroundTruth, Reading, decode_reading
from pdm.simulator.app import build
from pdm.simulator.fleet import Caps, Command, Fleet
from pdm.simulator.machine import Operation
from pdm.simulator.outlet import Outlet
from pdm.simulator.profiles import PROFILES
from tests.records import NOON
from tests.unit.simulator.conftest import FakeClock, all_ended

READING = Reading("machine-001", NOON, rpm=1500.0)


def test_readings_and_truth_reach_their_topics_keyed_by_machine(clock: FakeClock) -> None:
    role = build(Settings())
    outlet = Outlet(role.broker)
    records: dict[str, list[tuple[bytes | None, bytes]]] = {RAW_TOPIC: [], TRUTH_TOPIC: []}

    async def keep(message: KafkaMessage) -> None:
        record = message.raw_message
        assert not isinstance(record, tuple)
        records[record.topic].append((record.key, record.value or b""))

    for topic in records:
        role.broker.subscriber(topic, decoder=_as_it_is)(keep)

    async def story() -> None:
        async with TestKafkaBroker(role.broker):
            fleet = Fleet(outlet, Caps(10, 10.0, 0.2), clock.time)
            (run,) = fleet.obey([Command("machine-001", Operation(PROFILES["power"]), duration_s=3)])
            await all_ended(fleet)
            assert run.sent == 3

    asyncio.run(story())
    readings = [decode_reading(key, value) for key, value in records[RAW_TOPIC]]
    told = [msgspec.json.decode(value, type=GroundTruth) for _, value in records[TRUTH_TOPIC]]
    assert [reading.machine_id for reading in readings] == ["machine-001"] * 3
    assert [item.event for item in told] == ["started", "violated", "ended"]
    assert {key for key, _ in records[TRUTH_TOPIC]} == {b"machine-001"}


async def _as_it_is(message: KafkaMessage) -> KafkaMessage:
    return message


def test_before_kafka_is_there_a_send_says_so_and_the_role_is_unready() -> None:
    role = build(Settings())
    outlet = Outlet(role.broker)

    async def story() -> None:
        with pytest.raises(Retryable, match="not connected"):
            await outlet.send(READING)
        assert not (await outlet.check_kafka()).is_ok
        assert (await outlet.check_producer()).is_ok

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "is_live_after_a_minute"),
    [(OutOfOrderSequenceNumber(), False), (UnknownTopicOrPartitionError(), True)],
)
def test_only_an_error_that_no_retry_mends_asks_for_a_new_process(
    error: KafkaError, is_live_after_a_minute: bool
) -> None:
    role, now_s = build(Settings()), 100.0
    outlet = Outlet(role.broker, now=lambda: now_s)
    refuses = True

    async def refuse(_: KafkaMessage) -> None:
        if refuses:
            raise error

    role.broker.subscriber(RAW_TOPIC, decoder=_as_it_is)(refuse)

    async def story() -> None:
        nonlocal now_s, refuses
        async with TestKafkaBroker(role.broker):
            with pytest.raises(Retryable, match="refused"):
                await outlet.send(READING)
            assert (await outlet.check_producer()).is_ok
            assert not (await outlet.check_kafka()).is_ok
            now_s += 60.0
            assert (await outlet.check_producer()).is_ok is is_live_after_a_minute
            refuses = False
            await outlet.send(READING)
            assert (await outlet.check_producer()).is_ok
            assert (await outlet.check_kafka()).is_ok

    asyncio.run(story())


def test_beyond_loopback_the_role_wants_a_key() -> None:
    with pytest.raises(Misconfigured, match="API key"):
        build(Settings(http=HttpSettings(host="0.0.0.0")))
