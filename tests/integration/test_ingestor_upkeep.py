"""Day partitions and minutes on a real PostgreSQL: made, dropped and computed while writers and readers are at work."""

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from aiokafka import ConsumerRecord
from tests.plant import Plant, reading, together, write
from tests.records import NOON, raw_record, reading_json

from pdm.config import IngestorSettings
from pdm.errors import Retryable
from pdm.ingestor.upkeep import GRACE_S, drop_old_letters, drop_old_minutes, keep_partitions
from pdm.ingestor.writer import Written
from pdm.store.minutes import mark_due, roll_up
from pdm.store.partitions import Bounds, days_ahead, drop_expired, ensure_partitions
from pdm.store.pool import Connection, connect, in_slices, transaction
from pdm.store.retention import prune_minutes

TODAY = NOON.date()
DAY = timedelta(days=1)


# --- partitions -------------------------------------------------------------------------------------------------------


def days_of(plant: Plant) -> list[str]:
    return [
        name
        for (name,) in plant.rows(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'sensor_log'::regclass ORDER BY 1"
        )
    ]


@contextmanager
def held_open(plant: Plant, query: str) -> Iterator[None]:
    """A transaction that has read and does not end, as a long export does."""
    with psycopg.connect(plant.database.conninfo("owner")) as conn:
        conn.execute(query.encode()).fetchall()
        yield


def test_days_are_made_around_today_by_many_at_once(plant: Plant) -> None:
    found: list[Bounds] = []

    def make(_: int) -> None:
        with connect(plant.conninfo, "test") as conn:
            found.append(ensure_partitions(conn, TODAY, ahead=7))

    together(6, make)

    assert days_of(plant) == [f"sensor_log_{TODAY + n * DAY:%Y%m%d}" for n in range(-2, 8)]
    bounds = Bounds(datetime(2025, 11, 5, tzinfo=UTC), datetime(2025, 11, 15, tzinfo=UTC))
    assert found == [bounds] * 6
    assert plant.rows("SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname ~ '^sensor_log'") == [
        ("pdm_ingestor",)
    ]
    assert plant.rows("SELECT conname FROM pg_constraint WHERE conname = 'within_day'") == []


def test_days_are_made_while_readings_are_being_copied(plant: Plant) -> None:
    """Neither waits for the other: the writer's transaction is still open."""
    write(plant.writer(), reading(0))
    with transaction(plant.pool) as writing:
        writing.execute("INSERT INTO sensor_log (machine_id, timestamp, rpm) VALUES ('m', %s, 1)", [NOON])
        with connect(plant.conninfo, "test") as conn:
            conn.execute("SET lock_timeout = '2s'")
            bounds = ensure_partitions(conn, TODAY + DAY, ahead=7)
    assert bounds.end == datetime(2025, 11, 16, tzinfo=UTC)


def test_a_missing_day_is_made_and_its_readings_are_no_dead_letters(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(0))
    with connect(plant.conninfo, "test") as conn:
        conn.execute("DROP TABLE sensor_log_20251107")

    with pytest.raises(Retryable, match="no partition"):
        write(writer, reading(1))
    written = write(writer, reading(1))

    assert (written.stored, written.rejected) == (1, 0)


def test_days_made_elsewhere_are_seen_before_a_reading_is_called_too_new(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(0))
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY + DAY, ahead=7)

    written = write(writer, raw_record(reading_json(timestamp=NOON + 8 * DAY), 1))

    assert written == Written(stored=1, duplicates=0, rejected=0, new_letters=[])


def test_a_long_stop_leaves_a_gap_that_is_not_filled(plant: Plant) -> None:
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - 20 * DAY, ahead=7)
        bounds = ensure_partitions(conn, TODAY, ahead=7)

    assert bounds.first == datetime(2025, 11, 5, tzinfo=UTC)
    assert len(days_of(plant)) == 20


def test_days_beyond_retention_are_dropped_and_the_others_kept(plant: Plant) -> None:
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - 4 * DAY, ahead=11)
        conn.execute("INSERT INTO sensor_log (machine_id, timestamp, rpm) VALUES ('m', %s, 1)", [NOON - 6 * DAY])

    keep_partitions(plant.conninfo, IngestorSettings(retention_days=4), plant.now)

    assert days_of(plant) == [f"sensor_log_{TODAY + n * DAY:%Y%m%d}" for n in range(-4, 8)]
    assert plant.rows("SELECT count(*) FROM pg_class WHERE relname = 'sensor_log_20251101'") == [(0,)]


def test_a_clock_ahead_of_the_server_drops_nothing_too_early(plant: Plant) -> None:
    today = datetime.now(UTC).date()
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, today, ahead=1)

        assert drop_expired(conn, today + 365 * DAY, retention_days=30) == []


def test_a_drop_cut_short_by_a_long_reader_is_ended_at_the_next_turn(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdm.store.partitions.DROP_TIMEOUT_MS", 300)
    settings = IngestorSettings(retention_days=2)
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - DAY, ahead=8)

    with held_open(plant, "SELECT * FROM sensor_log"), pytest.raises(Retryable):
        keep_partitions(plant.conninfo, settings, plant.now)
    assert write(plant.writer(), reading(0)).stored == 1

    keep_partitions(plant.conninfo, settings, plant.now)
    assert days_of(plant)[0] == "sensor_log_20251105"
    assert plant.rows("SELECT count(*) FROM pg_class WHERE relname = 'sensor_log_20251104'") == [(0,)]


def test_a_day_left_detached_by_a_crash_is_dropped(plant: Plant) -> None:
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - 2 * DAY, ahead=9)
        conn.execute("ALTER TABLE sensor_log DETACH PARTITION sensor_log_20251103 CONCURRENTLY")

        assert drop_expired(conn, TODAY, retention_days=3) == [TODAY - 4 * DAY]


def test_many_upkeeps_at_once_drop_each_day_once(plant: Plant) -> None:
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - 4 * DAY, ahead=11)

    together(4, lambda _: keep_partitions(plant.conninfo, IngestorSettings(retention_days=2), plant.now))

    assert days_of(plant)[0] == "sensor_log_20251105"
    with connect(plant.conninfo, "test") as conn:
        assert days_ahead(conn, TODAY) == 7


def test_a_reading_of_a_dropped_day_is_too_old(plant: Plant) -> None:
    writer = plant.writer()
    with connect(plant.conninfo, "test") as conn:
        ensure_partitions(conn, TODAY - 2 * DAY, ahead=9)
    late = raw_record(reading_json(timestamp=NOON - 3 * DAY), 1)
    assert write(writer, late).stored == 1
    keep_partitions(plant.conninfo, IngestorSettings(retention_days=2), plant.now)

    with pytest.raises(Retryable, match="no partition"):
        write(writer, late)
    assert write(writer, late).new_letters == ["too_old"]


def test_days_ahead_end_at_the_first_hole(plant: Plant) -> None:
    with connect(plant.conninfo, "test") as conn:
        assert days_ahead(conn, TODAY) == -1
        ensure_partitions(conn, TODAY, ahead=4)
        conn.execute("DROP TABLE sensor_log_20251110")
        assert days_ahead(conn, TODAY) == 2


# --- retention --------------------------------------------------------------------------------------------------------


def add_minutes(plant: Plant, before: datetime) -> None:
    """Of five machines, the nine minutes before `before` and the four from it on."""
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute(
            "INSERT INTO sensor_minute (machine_id, minute, n) SELECT 'm-' || m, %s - make_interval(mins => n), 1"
            " FROM generate_series(1, 5) m, generate_series(-3, 9) n",
            [before],
        )


def test_minutes_beyond_retention_are_deleted_slice_by_slice_and_the_others_kept(plant: Plant) -> None:
    add_minutes(plant, NOON - 730 * DAY)
    slices: list[int] = []

    def prune(conn: Connection, size: int) -> int:
        slices.append(prune_minutes(conn, NOON, 730, size))
        return slices[-1]

    assert in_slices(plant.pool, prune, 10) == 45
    assert slices == [10, 10, 10, 10, 5]
    assert plant.rows("SELECT count(*), count(DISTINCT machine_id) FROM sensor_minute") == [(20, 5)]


def test_a_turn_ends_after_so_many_slices_and_the_next_one_goes_on(plant: Plant) -> None:
    add_minutes(plant, NOON - 730 * DAY)

    def turn() -> int:
        return in_slices(plant.pool, lambda conn, size: prune_minutes(conn, NOON, 730, size), 10, at_most=3)

    assert [turn(), turn(), turn()] == [30, 15, 0]


def test_a_clock_ahead_of_the_server_deletes_nothing_too_early(plant: Plant) -> None:
    now = datetime.now(UTC)
    add_minutes(plant, now)
    write(plant.writer(), raw_record(None))

    drop_old_minutes(plant.pool, IngestorSettings(), lambda: now + 2_000 * DAY)
    drop_old_letters(plant.pool, IngestorSettings(), lambda: now + 2_000 * DAY)

    assert plant.rows("SELECT count(*) FROM sensor_minute") == [(65,)]
    assert plant.rows("SELECT count(*) FROM dead_letter") == [(1,)]


def test_dead_letters_beyond_retention_are_deleted_by_when_they_were_received(plant: Plant) -> None:
    write(plant.writer(), *(raw_record(None, n) for n in range(30)))
    with connect(plant.database.conninfo("owner"), "test") as conn:
        conn.execute("UPDATE dead_letter SET received_at = now() - interval '91 days' WHERE kafka_offset < 20")

    drop_old_letters(plant.pool, IngestorSettings(), lambda: datetime.now(UTC))

    assert plant.rows("SELECT count(*), min(kafka_offset) FROM dead_letter") == [(10, 20)]


# --- minutes ----------------------------------------------------------------------------------------------------------


def test_a_closed_minute_is_rolled_up_and_a_running_one_is_not(plant: Plant) -> None:
    write(
        plant.writer(),
        reading(0, torque_nm=40.0),
        reading(30, torque_nm=None),
        reading(59, torque_nm=50.0),
        reading(60),
    )

    plant.roll_up(timedelta(minutes=1, seconds=GRACE_S - 1))
    assert plant.rows("SELECT count(*) FROM sensor_minute") == [(0,)]

    plant.roll_up()
    assert plant.rows(
        "SELECT machine_id, minute, n, torque_nm_min, torque_nm_avg, torque_nm_max, rpm_avg FROM sensor_minute"
    ) == [("machine-001", NOON, 3, 40.0, 45.0, 50.0, 1500.0)]
    assert plant.rows("SELECT minute FROM sensor_minute_due") == [(NOON + timedelta(minutes=1),)]


def test_a_late_reading_recomputes_its_minute(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(0))
    plant.time += timedelta(minutes=5)
    plant.roll_up()

    write(writer, reading(30, torque_nm=100.0))
    plant.roll_up()

    assert plant.rows("SELECT n, torque_nm_max FROM sensor_minute") == [(2, 100.0)]
    assert plant.rows("SELECT * FROM sensor_minute_due") == []


def test_a_replay_makes_no_minute_due(plant: Plant) -> None:
    writer = plant.writer()
    write(writer, reading(0))
    plant.time += timedelta(minutes=5)
    plant.roll_up()

    assert write(writer, reading(0)).duplicates == 1
    assert plant.rows("SELECT * FROM sensor_minute_due") == []


def test_more_due_minutes_than_one_turn_takes_are_all_computed(plant: Plant) -> None:
    records = [reading(60 * n, n, machine_id=f"machine-{n % 50:03d}") for n in range(-1_100, 0)]
    write(plant.writer(), *records)

    plant.roll_up()

    assert plant.rows("SELECT count(*), sum(n)::int FROM sensor_minute") == [(1_100, 1_100)]


def test_a_mark_made_while_its_minute_is_being_computed_is_not_lost(plant: Plant) -> None:
    """The mark waits for the roll-up that is deleting it, and stands again afterwards."""
    write(plant.writer(), reading(0))
    minute = int(NOON.timestamp() // 60)
    marked = threading.Event()

    def mark() -> None:
        with transaction(plant.pool) as conn:
            mark_due(conn, [("machine-001", minute)])
        marked.set()

    with transaction(plant.pool) as rolling:
        assert roll_up(rolling, NOON + DAY, 10) == 1
        thread = threading.Thread(target=mark)
        thread.start()
        assert not marked.wait(0.3)
    thread.join()

    assert plant.rows("SELECT machine_id, minute FROM sensor_minute_due") == [("machine-001", NOON)]


def test_minutes_agree_with_readings_however_writers_and_roll_ups_meet(plant: Plant) -> None:
    """Late readings of one hour, three writers, two roll-ups that never rest."""
    plant.time = NOON + timedelta(hours=2)
    records = [reading(random.randrange(3_600), n, machine_id=f"machine-{n % 3:03d}") for n in range(3_000)]
    is_over = threading.Event()

    def act(number: int) -> None:
        if number >= 3:
            while not is_over.is_set():
                plant.roll_up()
            return
        mine: Sequence[ConsumerRecord] = records[number::3]
        writer = plant.writer()
        for start in range(0, len(mine), 25):
            write(writer, *mine[start : start + 25])

    def all_writers_then_end() -> None:
        together(3, act)
        is_over.set()

    together(3, lambda number: all_writers_then_end() if number == 0 else act(number + 2))
    plant.roll_up()

    assert plant.rows("SELECT * FROM sensor_minute_due") == []
    assert (
        plant.rows(
            """
            SELECT * FROM (SELECT machine_id, date_trunc('minute', timestamp) AS minute, count(*) AS n
                           FROM sensor_log GROUP BY 1, 2) a
            FULL JOIN sensor_minute b USING (machine_id, minute) WHERE a.n IS DISTINCT FROM b.n
            """
        )
        == []
    )
