"""The ingestor on a real PostgreSQL: what is stored, what is set aside, and that a second delivery changes nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from aiokafka import ConsumerRecord
from tests.plant import Plant, reading, together, write
from tests.records import NOON, raw_record, reading_json

from pdm.errors import RejectReason, Retryable
from pdm.events import MAX_RECORD_BYTES
from pdm.ingestor.writer import Written
from pdm.store.pool import connect


def test_a_reading_is_stored_as_it_came(plant: Plant) -> None:
    sensors: dict[str, Any] = {"air_temp_k": 0.1 + 0.2, "process_temp_k": 309.5, "rpm": 1500.25, "tool_wear_min": None}
    value = reading_json(
        torque_nm=-0.0, product_type="M", channels={"vibration_mm_s": 2.1}, unknown={"is": "ignored"}, **sensors
    )

    assert write(plant.writer(), raw_record(value)) == Written(stored=1, duplicates=0, rejected=0, new_letters=[])
    assert plant.rows("SELECT * FROM sensor_log") == [
        ("machine-001", NOON, 0.1 + 0.2, 309.5, 1500.25, 0.0, None, "M", {"vibration_mm_s": 2.1})
    ]


def test_offsets_of_time_zones_and_microseconds_are_kept_exactly(plant: Plant) -> None:
    text = b'{"machine_id": "m", "rpm": 1, "timestamp": "2025-11-07T21:30:00.123456+09:30"}'

    write(plant.writer(), raw_record(text))

    assert plant.rows("SELECT timestamp FROM sensor_log") == [(NOON + timedelta(microseconds=123456),)]


def bad_records() -> list[tuple[RejectReason, ConsumerRecord]]:
    """One of each reason, those of the database included; the offset is the place in the list."""
    values: list[tuple[RejectReason, bytes | None]] = [
        ("null_value", None),
        ("oversized", b"x" * (MAX_RECORD_BYTES + 1)),
        ("invalid_json", b'{"machine_id": "machine-001"'),
        ("missing_field", b'{"machine_id": "machine-001", "rpm": 1}'),
        ("wrong_type", reading_json(rpm="fast")),
        ("bad_machine_id", reading_json(machine_id="machine 1")),
        ("key_mismatch", reading_json(machine_id="machine-002")),
        ("bad_timestamp", reading_json().replace(b"12:00:00Z", b"25:00:00Z")),
        ("no_sensor", b'{"machine_id": "machine-001", "timestamp": "2025-11-07T12:00:00Z"}'),
        ("out_of_range", reading_json(torque_nm=1e12)),
        ("bad_channel", reading_json(channels={"a b": 1.0})),
        ("too_old", reading_json(timestamp=datetime(2025, 11, 4, 23, 59, tzinfo=UTC))),
        ("too_new", reading_json(timestamp=datetime(2025, 11, 15, tzinfo=UTC))),
        ("conflicting_duplicate", reading_json(timestamp=NOON, torque_nm=99.0)),
    ]
    return [(reason, raw_record(value, 2 * n + 1, key=b"machine-001")) for n, (reason, value) in enumerate(values)]


def test_every_kind_of_bad_record_becomes_a_dead_letter_and_no_neighbour_is_lost(plant: Plant) -> None:
    bad = bad_records()
    batch: list[ConsumerRecord] = []
    for number, (_, record) in enumerate(bad):
        batch += [reading(number, 2 * number), record]

    written = write(plant.writer(), *batch)

    assert {reason for reason, _ in bad} == set(get_args(RejectReason))
    assert written.stored == written.rejected == len(bad)
    assert sorted(written.new_letters) == sorted(reason for reason, _ in bad)
    letters = plant.rows(
        "SELECT reason, kafka_offset, key, value, topic, kafka_partition, appended_at FROM dead_letter"
    )
    assert {(reason, offset, key) for reason, offset, key, *_ in letters} == {
        (reason, record.offset, record.key) for reason, record in bad
    }
    kept = {reason: value for reason, _, _, value, *_ in letters}
    assert kept["invalid_json"] == bad[2][1].value
    assert kept["null_value"] is None
    assert len(kept["oversized"]) == MAX_RECORD_BYTES
    assert [tuple(place) for *_, topic, partition, at in letters for place in [(topic, partition, at)]] == [
        ("sensor-raw-data", 0, NOON)
    ] * len(bad)


def test_every_batch_delivered_twice_leaves_the_same_tables(plant: Plant) -> None:
    writer, bad = plant.writer(), [record for _, record in bad_records()]
    batches = [
        [reading(0, 0), reading(1, 2), *bad],
        [reading(n, 100 + n, machine_id="machine-002") for n in range(5)],
        [reading(1, 200), reading(2, 201), reading(2, 202, torque_nm=1.0)],
    ]
    for batch in batches:
        write(writer, *batch)
    once = plant.dump()

    for batch in batches:
        again = write(writer, *batch)
        assert again.stored == 0
        assert again.new_letters == []
    assert plant.dump() == once

    # As after a crash that lost the offsets: a new process, batches cut otherwise.
    everything = [record for batch in batches for record in batch]
    fresh = plant.writer()
    for start in range(0, len(everything), 4):
        write(fresh, *everything[start : start + 4])
    assert plant.dump() == once


def test_the_first_value_wins_and_the_second_is_set_aside_once(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(1, 1, torque_nm=10.0))

    written = write(writer, reading(1, 2, torque_nm=20.0), reading(2, 3), reading(1, 4, torque_nm=10.0))

    assert (written.stored, written.duplicates, written.rejected) == (1, 1, 1)
    assert plant.rows("SELECT torque_nm FROM sensor_log ORDER BY timestamp") == [(10.0,), (42.8,)]
    assert plant.rows("SELECT reason, kafka_offset FROM dead_letter") == [("conflicting_duplicate", 2)]


def test_inside_one_batch_the_first_in_log_order_wins(plant: Plant) -> None:
    written = write(
        plant.writer(),
        reading(9, 1),
        reading(1, 2, torque_nm=10.0),
        reading(1, 3, torque_nm=20.0),
        reading(1, 4, torque_nm=10.0),
    )

    assert (written.stored, written.duplicates, written.rejected) == (2, 1, 1)
    assert plant.rows("SELECT torque_nm FROM sensor_log WHERE timestamp < '2025-11-07T12:00:05Z'") == [(10.0,)]
    assert plant.rows("SELECT kafka_offset FROM dead_letter") == [(3,)]


@pytest.mark.parametrize(
    ("first", "second", "conflicts"),
    [
        ({"rpm": None}, {"rpm": None}, False),
        ({"rpm": None}, {"rpm": 1500}, True),
        ({"rpm": 1500}, {"rpm": None}, True),
        ({"rpm": 1500}, {"rpm": 1500.0}, False),
        ({"product_type": "L"}, {"product_type": "M"}, True),
        ({"channels": {"a": 1.0, "b": 2}}, {"channels": {"b": 2.0, "a": 1}}, False),
        ({"channels": {"a": 1.0}}, {"channels": {"a": 1.5}}, True),
        ({"channels": {"a": 1.0}}, {}, True),
    ],
)
def test_values_are_compared_null_safe_and_by_meaning(
    plant: Plant, first: dict[str, Any], second: dict[str, Any], conflicts: bool
) -> None:
    writer = plant.writer()
    write(writer, reading(1, 1, **first))

    written = write(writer, reading(1, 2, **second))

    assert (written.duplicates, written.rejected) == ((0, 1) if conflicts else (1, 0))


def test_two_writers_of_the_same_readings_store_them_once_and_find_no_conflict(plant: Plant) -> None:
    """As two owners of one partition do in a rebalance: same records, batches cut otherwise, at the same time."""
    records = [reading(n, n, machine_id=f"machine-{n % 7:03d}") for n in range(3_000)]
    results: list[Written] = []

    def store(number: int) -> None:
        writer, size = plant.writer(), 500 + 100 * number
        results.extend(write(writer, *records[start : start + size]) for start in range(0, len(records), size))

    together(3, store)

    assert plant.rows("SELECT count(*) FROM sensor_log") == [(3_000,)]
    assert plant.rows("SELECT count(*) FROM dead_letter") == [(0,)]
    assert sum(result.stored for result in results) == 3_000


def test_a_batch_that_fails_in_its_last_statement_leaves_nothing(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(0))
    before = plant.dump()
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("ALTER TABLE sensor_minute_due RENAME TO away")

    with pytest.raises(Retryable, match="does not exist"):
        write(writer, raw_record(None, 1), reading(61, 2), reading(62, 3, machine_id="machine-009"))

    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("ALTER TABLE away RENAME TO sensor_minute_due")
    assert plant.dump() == before
    assert write(writer, reading(61, 2)).stored == 1
    assert len(plant.rows("SELECT * FROM sensor_minute_due")) == 2
