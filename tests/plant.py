"""A main database of one's own for a test of the ingestor, and records to fill it with."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aiokafka import ConsumerRecord

from pdm.config import MainDatabase
from pdm.ingestor.bodies import Bodies
from pdm.ingestor.decode import decode_batch
from pdm.ingestor.upkeep import GRACE_S, roll_up_closed
from pdm.ingestor.writer import Writer, Written
from pdm.store.pool import Pool, connect
from tests.records import NOON, raw_record, reading_json

TABLES = ("sensor_log", "dead_letter", "sensor_minute_due", "sensor_minute")


@dataclass
class Plant:
    """A main database of its own and a clock that is set by hand."""

    database: MainDatabase
    pool: Pool
    time: datetime = NOON

    def now(self) -> datetime:
        return self.time

    @property
    def conninfo(self) -> str:
        return self.database.conninfo("ingestor")

    def writer(self, body_mb: int = 256) -> Writer:
        return Writer(self.pool, self.now, days_ahead=7, bodies=Bodies(body_mb))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.database.conninfo("owner"), "test") as conn:
            return conn.execute(query.encode()).fetchall()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, but for when a dead letter was received."""
        return {
            table: self.rows(f"SELECT to_jsonb(t) - 'received_at' - 'id' FROM {table} t ORDER BY 1") for table in TABLES
        }

    def roll_up(self, after: timedelta = timedelta(minutes=1, seconds=GRACE_S + 1)) -> None:
        roll_up_closed(self.pool, lambda: self.time + after)


def reading(
    second: float, offset: int | None = None, *, machine_id: str = "machine-001", **values: Any
) -> ConsumerRecord:
    """A good record `second` seconds after noon."""
    value = reading_json(machine_id, NOON + timedelta(seconds=second), **values)
    return raw_record(value, int(second) if offset is None else offset, key=machine_id.encode())


def write(writer: Writer, *records: ConsumerRecord) -> Written:
    return writer.write(decode_batch(records))


def together(count: int, act: Callable[[int], None]) -> None:
    """Run `act(number)` in `count` threads at once; raise what any of them raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            barrier.wait()
            act(number)
        except BaseException as error:  # noqa: BLE001  # raised below, by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
