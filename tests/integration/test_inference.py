"""The batch path of inference on real PostgreSQL, Kafka and Valkey: what is committed, replayed, refused and shown."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import fsum

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from pdm.config import RAW_TOPIC, Settings
from pdm.events import AlertEvent, Reading, decode_event, encode
from pdm.feature_store import FeatureStore
from pdm.inference.commit import step_and_commit
from pdm.inference.episode import Position
from pdm.inference.handler import Handler, utc_now
from pdm.inference.machine import Arrival, Cadence
from pdm.inference.partition import Partition
from pdm.inference.scorer import Scorer
from pdm.store.pool import Pool, open_pool, transaction

CADENCE = Cadence.of(5.0)
OVERLOAD = (299.0, 309.0, 1250.0, 80.0, 10.0)
CALM = (299.0, 309.0, 1500.0, 40.0, 10.0)
_names = itertools.count()

Sensors = tuple[float, float, float, float, float]


@pytest.fixture
def machine_id() -> str:
    """Each test has a machine of its own: the engines are shared."""
    return f"inference-{next(_names)}"


@pytest.fixture
def pool(stack: Settings) -> Iterator[Pool]:
    pool = open_pool(stack.ai_db.conninfo("inference"), "pdm.test")
    yield pool
    pool.close()


def arrivals(machine_id: str, *parts: tuple[Sensors, int]) -> list[Arrival]:
    """One reading a second, ending now; positions count from 0."""
    values = [value for value, count in parts for _ in range(count)]
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=len(values))
    times = [start + timedelta(seconds=i) for i in range(len(values))]
    return [
        Arrival(Reading(machine_id, at, *value), Position(round(at.timestamp() * 1000), offset))
        for offset, (at, value) in enumerate(zip(times, values, strict=True))
    ]


def commit(pool: Pool, partition: Partition, batch: Sequence[Arrival]) -> None:
    for item in step_and_commit(pool, {0: partition}, {0: batch}, CADENCE, utc_now):
        partition.machines[item.after.machine_id] = item.after


def tables(pool: Pool, machine_id: str) -> tuple[list[tuple[object, ...]], list[AlertEvent]]:
    """Episodes without the time of their detection, and the outbox in order."""
    with transaction(pool) as conn:
        rows = conn.execute(
            "SELECT episode_id, seq, failure_type, failure_types, severity, opened_at, last_seen_at, closed_at,"
            " close_reason FROM anomaly_history WHERE machine_id = %s ORDER BY opened_at",
            [machine_id],
        ).fetchall()
        payloads = conn.execute("SELECT message_payload FROM outbox WHERE msg_key = %s", [machine_id]).fetchall()
    return rows, sorted((decode_event(text.encode()) for (text,) in payloads), key=lambda e: (e.timestamp, e.seq))


def test_an_episode_and_its_events_are_written_together(pool: Pool, machine_id: str) -> None:
    commit(pool, Partition(0), arrivals(machine_id, (CALM, 30), (OVERLOAD, 20), (CALM, 60)))
    (row,), events = tables(pool, machine_id)
    assert [(event.event, event.seq) for event in events] == [("opened", 1), ("cleared", 2)]
    assert row[1:5] == (2, "Overstrain", ["Overstrain", "Power"], "critical")
    assert {event.episode_id for event in events} == {str(row[0])}
    assert events[0].failure_type == "Overstrain"
    assert events[0].timestamp == row[5]


def test_every_batch_delivered_twice_leaves_the_same_tables(pool: Pool, machine_id: str) -> None:
    log = arrivals(machine_id, (CALM, 30), (OVERLOAD, 20), (CALM, 60), (OVERLOAD, 10))
    partition = Partition(0)
    for start in range(0, len(log), 25):
        batch = log[start : start + 25]
        commit(pool, partition, batch)
        before = tables(pool, machine_id)
        commit(pool, partition, batch)  # as after a commit of the offset that failed
        assert tables(pool, machine_id) == before
    assert [event.event for event in before[1]] == ["opened", "cleared", "opened"]


def test_a_replay_from_the_start_by_a_new_owner_changes_nothing(pool: Pool, machine_id: str) -> None:
    log = arrivals(machine_id, (CALM, 30), (OVERLOAD, 20), (CALM, 60))
    commit(pool, Partition(0), log)
    before = tables(pool, machine_id)
    commit(pool, Partition(0), log)
    assert tables(pool, machine_id) == before


def test_a_stale_owner_is_refused_and_goes_on_with_the_truth(pool: Pool, machine_id: str) -> None:
    log = arrivals(machine_id, (CALM, 30), (OVERLOAD, 20), (CALM, 80))
    owner, zombie = Partition(0), Partition(0)
    commit(pool, zombie, log[:30])
    commit(pool, owner, log[:55])
    commit(pool, zombie, log[30:55])  # it does not know yet that its partition has gone
    rows, events = tables(pool, machine_id)
    assert [event.event for event in events] == ["opened"]
    commit(pool, zombie, log[55:])
    commit(pool, owner, log[55:])
    rows, events = tables(pool, machine_id)
    assert [event.event for event in events] == ["opened", "cleared"]
    assert len(rows) == 1


def test_many_machines_in_one_batch_each_have_their_episode(pool: Pool, machine_id: str) -> None:
    names = [f"{machine_id}-{n}" for n in range(20)]
    mixed = [
        arrival for group in zip(*(arrivals(name, (OVERLOAD, 10)) for name in names), strict=True) for arrival in group
    ]
    commit(pool, Partition(0), mixed)
    for name in names:
        (row,), (event,) = tables(pool, name)
        assert (row[2], event.event) == ("Overstrain", "opened")


async def publish(settings: Settings, readings: Sequence[Reading]) -> list[ConsumerRecord]:
    """Send readings of one machine; returns them as Kafka keeps them."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all")
    await producer.start()
    sent = [
        await producer.send_and_wait(RAW_TOPIC, encode(reading), key=reading.machine_id.encode())
        for reading in readings
    ]
    await producer.stop()
    tp = TopicPartition(RAW_TOPIC, sent[0].partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await consumer.start()
    consumer.assign([tp])
    consumer.seek(tp, sent[0].offset)
    records: list[ConsumerRecord] = []
    while len(records) < len(sent):
        records += (await consumer.getmany(tp, timeout_ms=1_000)).get(tp, [])
    await consumer.stop()
    return records


async def handle(settings: Settings, pool: Pool, *batches: Sequence[ConsumerRecord]) -> Handler:
    """A freshly started inference role that is given these batches."""
    features = FeatureStore(settings.redis, "inference")
    handler = Handler(settings.kafka, pool, features, Scorer(), CADENCE, utc_now)
    await handler.on_assigned({TopicPartition(RAW_TOPIC, batches[0][0].partition)})
    for batch in batches:
        await handler(tuple(batch))
    await features.close()
    return handler


async def shown(settings: Settings, machine_id: str) -> dict[str, str]:
    features = FeatureStore(settings.redis, "inference")
    found = await features.read(machine_id)
    await features.close()
    return found


def test_redis_shows_the_very_numbers_that_were_judged(stack: Settings, pool: Pool, machine_id: str) -> None:
    readings = [arrival.reading for arrival in arrivals(machine_id, (CALM, 20), (OVERLOAD, 3))]

    async def run() -> dict[str, str]:
        await handle(stack, pool, await publish(stack, readings))
        return await shown(stack, machine_id)

    found = asyncio.run(run())
    with transaction(pool) as conn:
        row = conn.execute("SELECT features FROM anomaly_history WHERE machine_id = %s", [machine_id]).fetchone()
    assert row is not None
    judged = row[0]
    assert float(found["torque_1m_avg"]) == judged["torque_1m_avg_nm"] == fsum([40.0] * 20 + [80.0] * 3) / 23
    assert float(found["temp_1m_avg"]) == judged["temp_1m_avg_k"] == 309.0
    assert float(found["power_1m_avg"]) == judged["power_1m_avg_w"]
    assert (found["last_torque"], found["last_rpm"], found["state"]) == ("80.0", "1250.0", "critical")


def test_a_restart_in_the_middle_of_a_window_changes_no_verdict(stack: Settings, pool: Pool, machine_id: str) -> None:
    """Twins with the same readings, one owner restarted after every tenth: same transitions, same features."""
    twin = f"{machine_id}-twin"
    log = arrivals(machine_id, (CALM, 20), (OVERLOAD, 15), (CALM, 60))
    readings = [arrival.reading for arrival in log]
    twins = [msgspec.structs.replace(reading, machine_id=twin) for reading in readings]

    async def run() -> tuple[dict[str, str], dict[str, str]]:
        await handle(stack, pool, await publish(stack, readings))
        records = await publish(stack, twins)
        for start in range(0, len(records), 10):
            await handle(stack, pool, records[start : start + 10])
        return await shown(stack, machine_id), await shown(stack, twin)

    one, other = asyncio.run(run())
    for found in (one, other):
        found.pop("last_seen")
        found.pop("skew_s")
    assert one == other
    events = [
        [(e.event, e.seq, e.failure_type, e.reasons) for e in tables(pool, name)[1]] for name in (machine_id, twin)
    ]
    assert events[0] == events[1]
    assert [event[0] for event in events[0]] == ["opened", "cleared"]


def test_a_lost_feature_store_loses_nothing_but_what_it_shows(stack: Settings, pool: Pool, machine_id: str) -> None:
    readings = [arrival.reading for arrival in arrivals(machine_id, (OVERLOAD, 6))]

    async def run() -> tuple[int, dict[str, str]]:
        records = await publish(stack, readings)
        away = stack.redis.model_copy(update={"url": "redis://127.0.0.1:1/0"})
        handler = Handler(stack.kafka, pool, FeatureStore(away, "inference"), Scorer(), CADENCE, utc_now)
        await handler.on_assigned({TopicPartition(RAW_TOPIC, records[0].partition)})
        await handler(tuple(records[:5]))
        waiting = len(handler.unshown)
        handler.features = FeatureStore(stack.redis, "inference")
        await handler(tuple(records[5:]))
        await handler.features.close()
        return waiting, await shown(stack, machine_id)

    waiting, found = asyncio.run(run())
    assert waiting == 1
    assert found["state"] == "critical"
    assert [event.event for event in tables(pool, machine_id)[1]] == ["opened"]
