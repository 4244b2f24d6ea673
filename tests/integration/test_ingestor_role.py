"""`pdm run ingestor` as a process of its own: ready, killed, restarted, stopped; nothing lost and nothing doubled."""

import asyncio
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
from aiokafka import AIOKafkaProducer
from tests.records import reading_json

from pdm.config import RAW_TOPIC, Settings
from pdm.local.stack import LocalStack
from pdm.store.pool import connect

READINGS = 30_000
BAD = (b"not json", None, b'{"machine_id": "m"}')


@contextmanager
def ingestor(stack: LocalStack, port: int) -> Iterator[subprocess.Popen[bytes]]:
    # A member with a name gets its partitions back at once after a kill, small batches make a kill hit one in hand.
    environment = {
        **stack.environment,
        "PDM_HTTP__INGESTOR_PORT": str(port),
        "PDM_KAFKA__INSTANCE_ID": "test",
        "PDM_INGESTOR__MAX_RECORDS": "500",
    }
    process = subprocess.Popen([sys.executable, "-m", "pdm", "run", "ingestor"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def send(bootstrap_servers: str, prefix: str) -> None:
    """READINGS good records of four machines, and among them BAD ones and one header without a value."""
    start = datetime.now(UTC) - timedelta(hours=1)
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all") as producer:
        for number in range(READINGS):
            machine_id = f"{prefix}-{number % 4}"
            value = reading_json(machine_id, start + timedelta(milliseconds=100 * number))
            await producer.send(RAW_TOPIC, value, key=machine_id.encode(), partition=number % 4)
            if number % 10_000 == 5_000:
                for bad in BAD:
                    await producer.send(RAW_TOPIC, bad, key=prefix.encode(), partition=number % 4)
                headers = [("trace", None)]
                await producer.send(RAW_TOPIC, value, key=machine_id.encode(), headers=headers, partition=number % 4)


def wait_until(is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def count(settings: Settings, query: str, *values: str) -> int:
    with connect(settings.main_db.conninfo("owner"), "test") as conn:
        row = conn.execute(query.encode(), values).fetchone()
        assert row is not None
        return int(row[0])


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_killed_over_and_over_it_stores_every_reading_once(local_stack: LocalStack) -> None:
    settings, port, prefix = local_stack.settings, free_port(), f"kill-{secrets.token_hex(3)}"

    def stored() -> int:
        return count(settings, "SELECT count(*) FROM sensor_log WHERE starts_with(machine_id, %s)", prefix)

    asyncio.run(send(settings.kafka.bootstrap_servers, prefix))
    for share in (0.0, 0.3, 0.6):
        with ingestor(local_stack, port) as process:
            wait_until(lambda share=share: stored() > share * READINGS)  # type: ignore[misc]
            process.kill()
    with ingestor(local_stack, port) as process:
        wait_until(lambda: stored() == READINGS)
        wait_until(lambda: is_ready(port))
        checks = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()["checks"]
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0

    assert "4 partitions" in checks["kafka"]["detail"]
    assert set(checks) == {"kafka", "main database", "partition of today", "reconciliation"}
    assert 'pdm_readings_total{outcome="stored",role="ingestor"}' in metrics
    assert stored() == READINGS
    letters = "SELECT count(*) FROM dead_letter WHERE key = convert_to(%s, 'UTF8')"
    assert count(settings, letters, prefix) == 3 * len(BAD)
    conflicts = (
        "SELECT count(*) FROM dead_letter WHERE reason = 'conflicting_duplicate' AND detail LIKE '%%' || %s || '%%'"
    )
    assert count(settings, conflicts, prefix) == 0


def test_a_database_that_goes_away_makes_it_unready_and_costs_nothing(local_stack: LocalStack) -> None:
    """Every connection of the ingestor is refused for a while, as in a restart of the server."""
    settings, port, prefix = local_stack.settings, free_port(), f"away-{secrets.token_hex(3)}"

    def allow(connections: int) -> None:
        with connect(settings.main_db.conninfo("owner"), "test") as conn:
            conn.execute(f"ALTER ROLE pdm_ingestor CONNECTION LIMIT {connections}".encode())
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pdm_ingestor'")

    with ingestor(local_stack, port) as process:
        wait_until(lambda: is_ready(port))
        allow(0)
        try:
            asyncio.run(send(settings.kafka.bootstrap_servers, prefix))
            wait_until(lambda: not is_ready(port))
            live = httpx.get(f"http://127.0.0.1:{port}/health/live")
        finally:
            allow(-1)
        wait_until(lambda: is_ready(port))
        assert live.status_code == 200
        query = "SELECT count(*) FROM sensor_log WHERE starts_with(machine_id, %s)"
        wait_until(lambda: count(settings, query, prefix) == READINGS)
        assert process.poll() is None
