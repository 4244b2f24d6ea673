"""What other systems rely on, read from the engines themselves after the demo's alert."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from redis import Redis

from .conftest import Cli

MACHINE = "machine-001"
SEVEN = ["machine_id", "timestamp", "air_temp_k", "process_temp_k", "rpm", "torque_nm", "tool_wear_min"]


@pytest.fixture(scope="module")
def stack(up: Cli) -> Any:
    """Addresses of a stack on which a demo has just ended: an alert went out and all machines have stopped."""
    ended = up.run("demo", "--exit", timeout_s=150)
    assert ended.code == 0, ended.out + ended.err
    deadline = time.monotonic() + 20
    while any(json.loads(up.run("status", "--json").out)["lag"].values()):
        assert time.monotonic() < deadline
    return up.addresses()


@pytest.fixture(scope="module")
def event(stack: Any) -> Any:
    """The newest opened event as it stands in the outbox, with the row's id."""
    query = """
        SELECT id, msg_key, message_payload FROM outbox
        WHERE topic_name = 'anomaly-alerts' AND message_payload::jsonb ->> 'event' = 'opened'
        ORDER BY created_at DESC LIMIT 1
    """
    (row,) = rows(stack, "ai_db", query)
    return {"outbox_id": str(row[0]), "key": row[1], **json.loads(row[2])}


@pytest.fixture(scope="module")
def portal(stack: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{stack['http']['portal_port']}") as client:
        yield client


def rows(stack: Any, database: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    address = stack[database]
    with psycopg.connect(address["url"], user="postgres", password=address["owner_password"]) as conn:
        return conn.execute(query.encode(), values).fetchall()


def test_sensor_log_begins_with_the_seven_columns(stack: Any) -> None:
    query = (
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'sensor_log' ORDER BY ordinal_position"
    )

    assert [row[0] for row in rows(stack, "main_db", query)][:7] == SEVEN


def test_redis_holds_the_last_torque_and_the_mean_that_the_readings_have(stack: Any) -> None:
    with Redis.from_url(stack["redis"]["url"], password=stack["redis"]["password"]) as redis:
        last_torque, mean_temp = (redis.get(f"machine:{MACHINE}:{name}") for name in ("last_torque", "temp_1m_avg"))

    minute = rows(
        stack,
        "main_db",
        """
        WITH mine AS (SELECT * FROM sensor_log WHERE machine_id = %s)
        SELECT torque_nm, process_temp_k FROM mine
        WHERE timestamp > (SELECT max(timestamp) FROM mine) - interval '60 s' ORDER BY timestamp
        """,
        MACHINE,
    )
    assert last_torque is not None
    assert mean_temp is not None
    assert float(last_torque) == minute[-1][0]
    assert math.isclose(float(mean_temp), math.fsum(row[1] for row in minute) / len(minute), abs_tol=1e-9)


def test_the_outbox_payload_has_the_three_fields(event: Any) -> None:
    assert event["key"] == MACHINE
    assert event["machine_id"] == MACHINE
    assert event["failure_type"] == "Overstrain"
    assert event["timestamp"].endswith("Z")


def test_the_topic_carries_the_payload_with_the_outbox_id_as_header(stack: Any, event: Any) -> None:
    async def find() -> Any:
        consumer = AIOKafkaConsumer(
            "anomaly-alerts",
            bootstrap_servers=stack["kafka"]["bootstrap_servers"],
            auto_offset_reset="earliest",
            group_id=None,
        )
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                async for record in consumer:
                    if dict(record.headers)["id"].decode() == event["outbox_id"]:
                        return record
        finally:
            await consumer.stop()

    record = asyncio.run(find())

    assert record.key.decode() == MACHINE
    assert json.loads(record.value).items() <= event.items()


def test_logs_status_and_alerts_serve_the_same_machine(portal: httpx.Client, event: Any) -> None:
    logs = portal.get(f"/api/machines/{MACHINE}/logs", params={"limit": 5}).json()
    status = portal.get(f"/api/machines/{MACHINE}/status").json()
    alerts = portal.get("/api/alerts", params={"machine_id": MACHINE, "limit": 1}).json()

    assert set(SEVEN) <= set(logs["readings"][0])
    assert status["features"]["last_torque"] == logs["readings"][0]["torque_nm"]
    assert alerts["alerts"][0]["episode_id"] == event["episode_id"]
    assert alerts["alerts"][0]["received"] is True


def test_every_role_answers_health_and_metrics(stack: Any) -> None:
    for role in ("simulator", "ingestor", "inference", "portal"):
        base = f"http://127.0.0.1:{stack['http'][f'{role}_port']}"
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert httpx.get(base + path).status_code == 200, (role, path)
