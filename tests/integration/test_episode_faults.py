"""Episodes on real PostgreSQL while owners crash, interleave and come back: one pass's rows and events, each once."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from tests.desk import Desk
from tests.machine_log import ALL, CALM, HUGE, ONLY_AIR, OVERLOAD, WEAK, Segment, log_of

from pdm.events import decode_reading, encode
from pdm.inference.commit import Stepped, step_and_commit
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival, Cadence, Machine, observe
from pdm.inference.partition import Partition
from pdm.store.pool import Pool, open_pool

CADENCE = Cadence.of(5.0)
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Killed(Exception):
    """Stands for the death of a process between two statements."""


@pytest.fixture
def pool(desk: Desk) -> Iterator[Pool]:
    pool = open_pool(desk.database.conninfo("inference"), "pdm.test")
    yield pool
    pool.close()


@pytest.fixture
def uninterrupted(desk: Desk, pool: Pool) -> Callable[[Sequence[Arrival]], list[Any]]:
    """What one owner makes of a log in a single pass; the tables are empty again afterwards."""

    def run(log: Sequence[Arrival]) -> list[Any]:
        take(pool, Partition(0), log)
        found = tables(desk)
        wipe(desk)
        return found

    return run


def take(pool: Pool, partition: Partition, batch: Sequence[Arrival], *, is_installed: bool = True) -> list[Stepped]:
    stepped = step_and_commit(pool, {0: partition}, {0: batch}, CADENCE, lambda: NOW)
    if is_installed:
        partition.machines |= {item.after.machine_id: item.after for item in stepped}
    return stepped


def restarted(log: Sequence[Arrival], first_live: int) -> Partition:
    """The partition of a process that was started anew and has warmed up."""
    partition = Partition(0)
    start_ms = log[first_live - 1].position.appended_ms - CADENCE.warm_up_s * 1000 if first_live else 0
    for arrival in log[:first_live]:
        if arrival.position.appended_ms >= start_ms:
            machine_id = arrival.reading.machine_id
            observe(partition.machines.setdefault(machine_id, Machine.new(machine_id, CADENCE)), arrival)
    return partition


def tables(desk: Desk) -> list[Any]:
    """Episodes and outbox as far as the log decides them. `last_seen_at` of open ones moves every ten seconds only."""
    return [
        desk.rows(
            "SELECT episode_id, machine_id, seq, failure_types, severity, opened_at, closed_at, close_reason"
            " FROM anomaly_history ORDER BY machine_id, opened_at, episode_id"
        ),
        desk.rows(
            "SELECT o.id, p->>'event', p->>'seq', p->>'episode_id', p->>'timestamp', p->>'failure_types',"
            " p->>'severity' FROM outbox o, LATERAL (SELECT message_payload::jsonb) j(p)"
            " ORDER BY msg_key, p->>'appended_at', p->>'episode_id', (p->>'seq')::int"
        ),
    ]


def wipe(desk: Desk) -> None:
    with desk._as("owner") as owner, owner.connection() as conn:
        conn.execute("TRUNCATE anomaly_history, outbox, machine CASCADE")


@contextmanager
def killed(monkeypatch: pytest.MonkeyPatch, point: str) -> Iterator[None]:
    def reached(name: str) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pdm.crash.reached", reached)
        with pytest.raises(Killed):
            yield


def any_log(seed: int) -> list[Arrival]:
    """Several machines, every sort of reading, gap and disorder."""
    draw = random.Random(seed)
    segments = [
        Segment(
            sensors=draw.choice(ALL),
            count=draw.randint(3, 30),
            silence_s=draw.choice([0, 0, 0, 75, 400]),
            clock_ahead_s=draw.choice([0, 0, 0, -300, 3600]),
            order=draw.choice(["plain", "doubled", "swapped", "late"]),
            machine_id=f"machine-{draw.randint(1, 3)}",
        )
        for _ in range(12)
    ]
    return log_of(segments)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("end", ["rolled back", "committed, not installed", "installed, offset not committed"])
def test_a_crash_at_any_boundary_leaves_each_event_once(
    desk: Desk, pool: Pool, uninterrupted: Any, monkeypatch: pytest.MonkeyPatch, seed: int, end: str
) -> None:
    log, draw = any_log(seed), random.Random(seed)
    expected = uninterrupted(log)
    partition, done = Partition(0), 0
    while done < len(log):
        batch = log[done : done + draw.randint(1, 40)]
        if end == "rolled back":
            try:
                with killed(monkeypatch, "inference.before_db_commit"):
                    take(pool, partition, batch)
            except pytest.fail.Exception:  # nothing to commit in this batch, so the point was not reached
                done += len(batch)
                continue
        else:
            take(pool, partition, batch, is_installed=end.startswith("installed"))
        if draw.random() < 0.5:
            partition = restarted(log, done)
        take(pool, partition, batch)
        done += len(batch)
    assert tables(desk) == expected


@pytest.mark.parametrize("seed", range(10, 18))
def test_two_owners_in_any_order_write_what_one_would(desk: Desk, pool: Pool, uninterrupted: Any, seed: int) -> None:
    """Each goes through the whole log at its own pace; the stale one may be far behind, or come back ahead."""
    log, draw = any_log(seed), random.Random(seed)
    expected = uninterrupted(log)
    owners = [(Partition(0), 0), (Partition(0), 0)]
    while any(done < len(log) for _, done in owners):
        turn = draw.randrange(2)
        partition, done = owners[turn]
        count = draw.choice([1, 5, 40, 200])
        take(pool, partition, log[done : done + count])
        owners[turn] = (partition, min(len(log), done + count))
    assert tables(desk) == expected


def test_an_owner_that_was_paused_for_an_hour_changes_nothing(desk: Desk, pool: Pool, uninterrupted: Any) -> None:
    log = log_of([Segment(OVERLOAD, 20), Segment(CALM, 80), *[Segment(CALM, 40), Segment(WEAK, 20)] * 30])
    expected = uninterrupted(log)
    paused, owner = Partition(0), Partition(0)
    take(pool, paused, log[:15])  # has an open episode in hand
    for start in range(0, len(log), 100):
        take(pool, owner, log[start : start + 100])
    take(pool, paused, log[15:60])
    take(pool, paused, log[60:150])
    assert tables(desk) == expected


def test_a_machine_whose_row_was_deleted_is_made_known_again(desk: Desk, pool: Pool) -> None:
    partition = Partition(0)
    log = log_of([Segment(CALM, 20), Segment(OVERLOAD, 10), Segment(CALM, 100)])
    take(pool, partition, log[:20])
    wipe(desk)
    take(pool, partition, log[20:26])
    wipe(desk)  # with its open episode
    take(pool, partition, log[26:])
    assert [row[1] for row in tables(desk)[1]] == ["opened", "cleared"]


def test_the_same_opening_time_a_second_time_is_an_episode_of_its_own(desk: Desk, pool: Pool) -> None:
    """A controller that starts with the same wrong date each time it boots."""
    boot = log_of([Segment(WEAK, 10), Segment(CALM, 20)])
    again = [
        Arrival(a.reading, Position(a.position.appended_ms + 3_600_000, a.position.offset + len(boot))) for a in boot
    ]
    partition = Partition(0)
    for arrival in [*boot, *again]:
        take(pool, partition, [arrival])
    episodes, events = tables(desk)
    assert len(episodes) == 2
    assert episodes[0][5] == episodes[1][5]  # opened_at
    assert [row[1] for row in events] == ["opened", "cleared", "opened", "cleared"]


def test_a_replay_whose_watermark_was_lost_never_blocks_the_partition(desk: Desk, pool: Pool) -> None:
    """An operator took rows out by hand: ids come again that the tables still know."""
    log = log_of([Segment(WEAK, 10), Segment(CALM, 20), Segment(WEAK, 10)])
    take(pool, Partition(0), log[:30])
    with desk._as("owner") as owner, owner.connection() as conn:
        conn.execute("UPDATE machine SET changed_appended_at = '-infinity', changed_offset = -1")
        conn.execute("DELETE FROM anomaly_history")  # the outbox keeps its rows
    take(pool, Partition(0), log)
    assert [row[7] for row in tables(desk)[0]] == ["cleared", None]


def test_a_machine_that_sends_to_two_partitions_has_one_open_episode(desk: Desk, pool: Pool) -> None:
    """Records without a key land anywhere; the owners of both partitions see the fault."""
    log = [
        Arrival(replace(a.reading, product_type="L" if n % 2 else None), a.position)
        for n, a in enumerate(log_of([Segment(WEAK, 40), Segment(CALM, 60)]))
    ]
    halves = {0: log[0::2], 1: log[1::2]}
    partitions = {0: Partition(0), 1: Partition(1)}
    for start in range(0, 50, 10):
        batch = {number: half[start : start + 10] for number, half in halves.items()}
        for item in step_and_commit(pool, partitions, batch, CADENCE, lambda: NOW):
            item.partition.machines[item.after.machine_id] = item.after
    assert [row[1] for row in tables(desk)[1]][:1] == ["opened"]
    assert len(desk.rows("SELECT FROM anomaly_history WHERE closed_at IS NULL")) <= 1


def poison() -> list[bytes]:
    """Records that decode well and are as odd as a reading can be."""
    times = ["0002-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z", "2200-02-28T23:59:59.999999Z"]
    times += ["9998-12-31T23:59:59-23:59", "2026-01-05T08:00:01+23:59", "2026-01-05T08:00:01.000001Z"]
    channels = ",".join(f'"c{n}":-1e9' for n in range(64))
    sensors = ['"rpm":1e9,"torque_nm":1e9,"tool_wear_min":1e9,"air_temp_k":-1e9,"process_temp_k":-1e9', '"rpm":-0.0']
    sensors += ['"torque_nm":5e-324,"rpm":1e-300', f'"torque_nm":70,"channels":{{{channels}}}']
    return [
        f'{{"machine_id":"machine-001","timestamp":"{at}",{values}}}'.encode() for at in times for values in sensors
    ]


def test_no_reading_that_decodes_can_block_the_partition(desk: Desk, pool: Pool) -> None:
    draw = random.Random(7)
    records = poison() * 12 + [encode(a.reading) for a in log_of([Segment(HUGE, 20), Segment(ONLY_AIR, 20)])]
    draw.shuffle(records)
    partition = Partition(0)
    for offset, record in enumerate(records):
        at_ms = round(NOW.timestamp() * 1000) + offset * draw.choice([0, 1000])
        take(pool, partition, [Arrival(decode_reading(None, record), Position(at_ms, offset))])
    end = [Segment(WEAK, 10, silence_s=7 * 86_400)]
    log = log_of(end, NOW)
    take(pool, partition, [Arrival(a.reading, Position(a.position.appended_ms, 10_000 + n)) for n, a in enumerate(log)])
    assert desk.rows("SELECT failure_type FROM anomaly_history WHERE closed_at IS NULL")[-1:] == [("Power",)]
