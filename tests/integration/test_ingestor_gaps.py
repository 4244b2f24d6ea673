"""`pdm run ingestor` while its topic loses records: it tells what vanished, stays ready and stores the rest."""

import asyncio
import secrets
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.integration.test_ingestor_role import count, free_port, ingestor, is_ready, wait_until
from tests.records import reading_json
from tests.topic import OwnTopic

from pdm.config import RAW_TOPIC, Settings
from pdm.local.stack import LocalStack
from pdm.store.pool import connect

GAPS = "SELECT from_offset, to_offset, reason FROM log_gap WHERE kafka_partition = 0 ORDER BY noticed_at"
WHERE = "SELECT next_offset FROM ingest_progress WHERE kafka_partition = 0"


class Field:
    """The raw topic itself, readings of one machine, and what the database says."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.topic = OwnTopic(settings.kafka.bootstrap_servers, RAW_TOPIC, settings.kafka.raw_partitions)
        self.machine_id = f"gap-{secrets.token_hex(3)}"
        self.sent = 0

    def send(self, number: int) -> None:
        start = datetime.now(UTC) - timedelta(hours=1)
        values = [reading_json(self.machine_id, start + timedelta(seconds=self.sent + n)) for n in range(number)]
        self.sent += number
        asyncio.run(self.topic.send(*values, key=self.machine_id.encode()))

    def stored(self) -> int:
        return count(self.settings, "SELECT count(*) FROM sensor_log WHERE machine_id = %s", self.machine_id)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.settings.main_db.conninfo("owner"), "test") as conn:
            return conn.execute(query.encode()).fetchall()


@pytest.fixture
def field(local_stack: LocalStack) -> Iterator[Field]:
    field = Field(local_stack.settings)
    yield field
    asyncio.run(field.topic.recreate())  # for the next test: with no record of this one


def reconciled(port: int) -> str:
    checks = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()["checks"]
    detail: str = checks["reconciliation"]["detail"]
    return detail


def test_it_tells_what_vanished_and_goes_on(local_stack: LocalStack, field: Field) -> None:
    port = free_port()
    with ingestor(local_stack, port) as process:
        field.send(10)
        wait_until(lambda: field.stored() == 10)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    ((end,),), known = field.rows(WHERE), len(field.rows(GAPS))

    field.send(10)
    asyncio.run(field.topic.delete_before(end + 6))
    with ingestor(local_stack, port) as process:
        wait_until(lambda: field.stored() == 14)
        assert field.rows(GAPS)[known:] == [(end, end + 6, "vanished")]

        asyncio.run(field.topic.recreate())
        field.send(5)
        wait_until(lambda: field.stored() == 19)
        assert field.rows(GAPS)[known + 1 :] == [(end + 10, 0, "recreated")]
        assert field.rows(WHERE) == [(5,)]
        # Looked at every 5 s; before the first look it says that nothing is committed.
        wait_until(lambda: is_ready(port) and "every offset of" in reconciled(port))
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    assert 'pdm_log_gap_records_total{partition="0",role="ingestor"} 7.0' in metrics
    assert 'pdm_ingest_gap_records{partition="0"} 0.0' in metrics
    assert "pdm_partitions_ahead_days 7.0" in metrics

    asyncio.run(field.topic.recreate())
    field.send(3)
    with ingestor(local_stack, port):
        wait_until(lambda: field.stored() == 22)
    assert field.rows(GAPS)[known + 2 :] == [(5, 0, "recreated")]
    assert field.rows(WHERE) == [(3,)]
