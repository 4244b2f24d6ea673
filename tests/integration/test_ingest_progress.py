"""`ingest_progress` on a real PostgreSQL: each offset counted once, whoever delivers it and however often."""

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from tests.plant import Plant, together, write
from tests.records import NOON, raw_record, reading_json

from pdm.errors import Retryable
from pdm.store.pool import connect
from pdm.store.progress import Account, accounts

LATER = NOON + timedelta(hours=1)


def progress(plant: Plant) -> dict[int, tuple[Any, ...]]:
    """A partition's from_offset, next_offset, stored, duplicates, dead_letters, vanished; the sum is checked."""
    rows = plant.rows(
        "SELECT kafka_partition, from_offset, next_offset, stored, duplicates, dead_letters, vanished"
        " FROM ingest_progress WHERE topic = 'sensor-raw-data'"
    )
    assert all(row[2] - row[1] == sum(row[3:]) for row in rows)
    return {row[0]: row[1:] for row in rows}


def gaps(plant: Plant) -> list[tuple[Any, ...]]:
    return plant.rows(
        "SELECT kafka_partition, from_offset, to_offset, reason FROM log_gap WHERE consumer_group = 'pdm.ingestor'"
        " ORDER BY appended_at, from_offset DESC"
    )


def at(offset: int, *, partition: int = 0, appended_at: datetime = NOON, **values: Any) -> ConsumerRecord:
    value = reading_json(f"m-{partition}", appended_at + timedelta(seconds=offset), **values)
    return raw_record(value, offset, partition=partition, appended_at=appended_at)


def test_every_offset_is_counted_by_what_became_of_it(plant: Plant) -> None:
    first, again, conflicting = at(5), at(5), at(5, torque_nm=1.0)
    again.offset, conflicting.offset = 6, 7

    write(plant.writer(), first, again, conflicting, raw_record(None, 8), at(9), at(3, partition=2))

    assert progress(plant) == {0: (5, 10, 2, 1, 2, 0), 2: (3, 4, 1, 0, 0, 0)}
    assert gaps(plant) == []


def test_a_redelivered_batch_is_counted_once_in_whatever_cut(plant: Plant) -> None:
    writer = plant.writer()
    records = [*map(at, range(6)), raw_record(b"{", 6), *map(at, range(7, 12))]
    write(writer, *records[:8])
    before = progress(plant)

    write(writer, *records[:8])
    assert progress(plant) == before
    write(plant.writer(), *records[3:])
    assert progress(plant) == {0: (0, 12, 11, 0, 1, 0)}
    assert gaps(plant) == []


def test_a_batch_that_fails_moves_nothing(plant: Plant) -> None:
    write(plant.writer(), at(0))
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("ALTER TABLE sensor_minute_due RENAME TO away")

    with pytest.raises(Retryable):
        write(plant.writer(), at(1), raw_record(None, 2))

    assert progress(plant) == {0: (0, 1, 1, 0, 0, 0)}


def test_two_owners_of_every_partition_count_each_offset_once(plant: Plant) -> None:
    """A zombie and its successor: same records, other cuts, both partitions in either order, at the same time."""
    records = {
        part: [at(n, partition=part) if n % 50 else raw_record(b"", n, partition=part) for n in range(800)]
        for part in (0, 1)
    }

    def own(number: int) -> None:
        writer, size, order = plant.writer(), 60 + 40 * number, [0, 1]
        for start in range(0, 800, size):
            random.shuffle(order)
            write(writer, *(record for part in order for record in records[part][start : start + size]))

    together(3, own)

    assert progress(plant) == dict.fromkeys((0, 1), (0, 800, 784, 0, 16, 0))
    assert gaps(plant) == []


def test_offsets_that_vanished_are_told_once_and_the_rest_goes_on(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, at(0), at(1))

    written = write(writer, at(5), at(6), at(9))
    write(writer, at(5), at(6), at(9))

    assert [gap.records for gap in written.gaps] == [3, 2]
    assert progress(plant) == {0: (0, 10, 5, 0, 0, 5)}
    assert gaps(plant) == [(0, 7, 9, "vanished"), (0, 2, 5, "vanished")]


def test_a_recreated_topic_is_told_and_counted_from_its_beginning(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, *map(at, range(10)))

    write(writer, at(0, appended_at=LATER), at(1, appended_at=LATER))
    write(writer, at(2, appended_at=LATER))

    assert progress(plant) == {0: (0, 3, 3, 0, 0, 0)}
    assert gaps(plant) == [(0, 10, 0, "recreated")]


def test_a_topic_recreated_twice_is_told_twice(plant: Plant) -> None:
    writer = plant.writer()
    for hours in range(3):
        write(writer, *(at(n, appended_at=NOON + timedelta(hours=hours)) for n in range(4)))

    assert gaps(plant) == [(0, 4, 0, "recreated")] * 2


def test_a_partition_never_stored_begins_at_what_its_group_had_committed(plant: Plant) -> None:
    writer = plant.writer()
    writer.begin({0: 2, 1: 7})

    write(writer, at(5), at(7, partition=1), at(3, partition=2))

    assert progress(plant) == {0: (2, 6, 1, 0, 0, 3), 1: (7, 8, 1, 0, 0, 0), 2: (3, 4, 1, 0, 0, 0)}
    assert gaps(plant) == [(0, 2, 5, "vanished")]


def test_the_reconciliation_finds_offsets_that_no_row_tells_of(plant: Plant) -> None:
    write(plant.writer(), at(0), at(1))
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("UPDATE ingest_progress SET stored = stored - 1")

    with connect(plant.conninfo, "test") as conn:
        assert accounts(conn, "sensor-raw-data") == {0: Account(next_offset=2, unaccounted=1)}
