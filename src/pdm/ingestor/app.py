"""Wiring of the ingestor role."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from aiokafka import TopicPartition

from pdm import crash
from pdm.broker import Subscription, make_broker, subscribe_batches
from pdm.config import RAW_TOPIC, Settings
from pdm.health import consumer_turns, consumer_works, database_answers
from pdm.http import Check, Checks, Health, make_http_app
from pdm.ingestor.handler import Handler
from pdm.ingestor.upkeep import keep_partitions, roll_up_closed
from pdm.ingestor.writer import Writer
from pdm.runtime import MEASURE_S, Role, repeat
from pdm.store.partitions import has_partition
from pdm.store.pool import Pool, open_pool, transaction

PARTITIONS_S = 60.0
ROLL_UP_S = 10.0
CONNECTIONS = 5  # batch, roll-up, two health checks, one to spare


def build(settings: Settings) -> Role:
    conninfo = settings.main_db.conninfo("ingestor")
    pool = open_pool(conninfo, "pdm.ingestor", max_size=CONNECTIONS)
    writer = Writer(pool, utc_now, settings.ingestor.partitions_ahead)
    subscription = Subscription(
        "ingestor", Handler(writer.write).__call__, on_revoked=_on_revoked, on_committed=writer.begin
    )
    broker = make_broker(settings.kafka, "ingestor")
    subscribe_batches(broker, subscription, RAW_TOPIC, settings.kafka, max_records=settings.ingestor.max_records)
    ready = {
        "kafka": consumer_works(subscription),
        "main database": database_answers(pool),
        "partition of today": _partition_of_today(pool, utc_now),
    }

    async def partitions() -> None:
        await asyncio.to_thread(keep_partitions, conninfo, settings.ingestor, utc_now)

    async def minutes() -> None:
        await asyncio.to_thread(roll_up_closed, pool, utc_now)

    async def close() -> None:
        await asyncio.to_thread(pool.close)

    return Role(
        name="ingestor",
        http=make_http_app("ingestor", settings.http, Checks({"consumer": consumer_turns(subscription)}, ready)),
        broker=broker,
        background={
            "measure": lambda: repeat("ingestor", "measure", MEASURE_S, subscription.measure),
            "partitions": lambda: repeat("ingestor", "partitions", PARTITIONS_S, partitions),
            "minutes": lambda: repeat("ingestor", "minutes", ROLL_UP_S, minutes),
        },
        close=close,
    )


async def _on_revoked(revoked: set[TopicPartition]) -> None:
    if revoked:  # a first join takes nothing back
        crash.reached("ingestor.on_revoked")


def utc_now() -> datetime:
    return datetime.now(UTC)


def _partition_of_today(pool: Pool, now: Callable[[], datetime]) -> Check:
    def look() -> Health:
        today = now().date()
        with transaction(pool) as conn:
            is_there = has_partition(conn, today)
        return Health(is_there, f"sensor_log {'takes' if is_there else 'has no partition for'} {today} (UTC)")

    async def check() -> Health:
        return await asyncio.to_thread(look)

    return check
