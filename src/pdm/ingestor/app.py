"""Wiring of the ingestor role."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from aiokafka import TopicPartition

from pdm import crash, metrics
from pdm.broker import Subscription, make_broker, subscribe_batches
from pdm.config import RAW_TOPIC, Settings
from pdm.health import consumer_turns, consumer_works, database_answers
from pdm.http import Check, Checks, Health, make_http_app
from pdm.ingestor.bodies import Bodies
from pdm.ingestor.handler import Handler
from pdm.ingestor.reconciliation import Reconciliation
from pdm.ingestor.upkeep import drop_old_letters, drop_old_minutes, keep_partitions, roll_up_closed
from pdm.ingestor.writer import Writer
from pdm.runtime import MEASURE_S, Role, repeat
from pdm.store.partitions import days_ahead
from pdm.store.pool import Pool, open_pool, transaction

PARTITIONS_S = 60.0
ROLL_UP_S = 10.0
RETENTION_S = 600.0
CONNECTIONS = 6  # batch, roll-up, retention, two health checks, one to spare
BODIES_S = 5.0


def build(settings: Settings) -> Role:
    conninfo = settings.main_db.conninfo("ingestor")
    pool = open_pool(conninfo, "pdm.ingestor", max_size=CONNECTIONS)
    bodies = Bodies(settings.ingestor.dead_letter_body_mb)
    writer = Writer(pool, utc_now, settings.ingestor.partitions_ahead, bodies)
    subscription = Subscription(
        "ingestor", Handler(writer.write).__call__, on_revoked=_on_revoked, on_committed=writer.begin
    )
    broker = make_broker(settings.kafka, "ingestor")
    subscribe_batches(broker, subscription, RAW_TOPIC, settings.kafka, max_records=settings.ingestor.max_records)
    reconciliation = Reconciliation(pool, subscription)
    partition_of_today = _partition_of_today(pool, utc_now)
    ready = {
        "kafka": consumer_works(subscription),
        "main database": database_answers(pool),
        "partition of today": partition_of_today,
        "reconciliation": reconciliation.check,
    }

    async def measure() -> None:
        await subscription.measure()
        await reconciliation.measure()

    async def days_ahead() -> None:
        await partition_of_today()  # its metric must not wait for Kafka

    async def partitions() -> None:
        await asyncio.to_thread(keep_partitions, conninfo, settings.ingestor, utc_now)

    async def minutes() -> None:
        await asyncio.to_thread(roll_up_closed, pool, utc_now)

    async def minute_retention() -> None:
        await asyncio.to_thread(drop_old_minutes, pool, settings.ingestor, utc_now)

    async def letter_retention() -> None:
        await asyncio.to_thread(drop_old_letters, pool, settings.ingestor, utc_now)

    async def count_bodies() -> None:
        await asyncio.to_thread(bodies.count, conninfo)

    async def close() -> None:
        await asyncio.to_thread(pool.close)

    return Role(
        name="ingestor",
        http=make_http_app("ingestor", settings.http, Checks({"consumer": consumer_turns(subscription)}, ready)),
        broker=broker,
        background={
            "measure": lambda: repeat("ingestor", "measure", MEASURE_S, measure),
            "days ahead": lambda: repeat("ingestor", "days ahead", MEASURE_S, days_ahead),
            "partitions": lambda: repeat("ingestor", "partitions", PARTITIONS_S, partitions),
            "minutes": lambda: repeat("ingestor", "minutes", ROLL_UP_S, minutes),
            "minute retention": lambda: repeat("ingestor", "minute retention", RETENTION_S, minute_retention),
            "letter retention": lambda: repeat("ingestor", "letter retention", RETENTION_S, letter_retention),
            "bodies": lambda: repeat("ingestor", "bodies", BODIES_S, count_bodies),
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
            ahead = days_ahead(conn, today)
        metrics.PARTITIONS_AHEAD.set(ahead)
        if ahead < 0:
            return Health(False, f"sensor_log has no partition for {today} (UTC)")
        return Health(True, f"sensor_log takes {today} (UTC) and {ahead} days more")

    async def check() -> Health:
        return await asyncio.to_thread(look)

    return check
