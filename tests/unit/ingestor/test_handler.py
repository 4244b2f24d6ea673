"""The order of things for one batch, on FastStream's in-memory broker and with a writer that only remembers."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import stamina
from faststream.kafka import TestKafkaBroker
from prometheus_client import REGISTRY

from pdm.broker import Subscription, make_broker, subscribe_batches
from pdm.config import RAW_TOPIC, KafkaSettings
from pdm.errors import Retryable
from pdm.ingestor.decode import Decoded
from pdm.ingestor.handler import Handler
from pdm.ingestor.writer import Written
from tests.records import raw_record, reading_json


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@dataclass
class FakeWriter:
    """Fails as often as told, then takes everything."""

    failures: int = 0
    calls: list[Decoded] = field(default_factory=list)

    def write(self, decoded: Decoded) -> Written:
        self.calls.append(decoded)
        if len(self.calls) <= self.failures:
            raise Retryable("PostgreSQL: away")
        reasons = [letter.reason for letter in decoded.rejected]
        return Written(len(decoded.readings), 0, len(reasons), reasons)


def count_of(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def growth_of(name: str, **labels: str) -> Callable[[], float]:
    before = count_of(name, **labels)
    return lambda: count_of(name, **labels) - before


def test_a_batch_is_decoded_written_and_counted() -> None:
    writer = FakeWriter()
    stored = growth_of("pdm_readings_total", role="ingestor", outcome="stored")
    rejected = growth_of("pdm_readings_total", role="ingestor", outcome="rejected")
    letters = growth_of("pdm_dead_letters_total", reason="null_value")

    asyncio.run(Handler(writer.write)((raw_record(reading_json(), 1), raw_record(None, 2))))

    assert len(writer.calls) == 1
    assert (stored(), rejected(), letters()) == (1, 1, 1)


def test_a_writer_that_comes_back_costs_nothing() -> None:
    writer = FakeWriter(failures=2)
    stored = growth_of("pdm_readings_total", role="ingestor", outcome="stored")

    asyncio.run(Handler(writer.write)((raw_record(reading_json()),)))

    assert len(writer.calls) == 3
    assert stored() == 1


def test_a_writer_that_stays_away_fails_the_batch_and_counts_nothing() -> None:
    writer = FakeWriter(failures=99)
    stored = growth_of("pdm_readings_total", role="ingestor", outcome="stored")

    with pytest.raises(Retryable, match="away"):
        asyncio.run(Handler(writer.write)((raw_record(reading_json()),)))

    assert stored() == 0


def test_records_travel_raw_from_the_topic_to_the_writer() -> None:
    writer = FakeWriter()
    settings = KafkaSettings()
    broker = make_broker(settings, "ingestor")
    subscription = Subscription("ingestor", Handler(writer.write).__call__)
    subscribe_batches(broker, subscription, RAW_TOPIC, settings, max_records=10)

    async def publish() -> None:
        async with TestKafkaBroker(broker) as memory:
            for value in (reading_json(), b"not json"):
                await memory.publish(value, topic=RAW_TOPIC, key=b"machine-001")

    asyncio.run(publish())

    assert [len(call.readings) for call in writer.calls] == [1, 0]
    assert [letter.reason for call in writer.calls for letter in call.rejected] == ["invalid_json"]
    assert subscription.newest_append_s is not None
