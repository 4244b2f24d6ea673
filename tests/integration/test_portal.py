"""What the portal keeps and tells, on a real database: once, in order, whatever is delivered twice or out of turn."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest
from tests.desk import Desk, episode
from tests.plant import together

from pdm.errors import Retryable
from pdm.events import AlertEvent
from pdm.portal.feed import QUEUE_LIMIT, Feed
from pdm.portal.handler import take_in
from pdm.portal.notifier import LEASE, MAX_ATTEMPTS, Notifier
from pdm.store.event_log import prune_event_log
from pdm.store.inbox import Incoming, prune_inbox
from pdm.store.notifications import claim_notifications, prune_notifications, settle_notification
from pdm.store.pool import connect, transaction

LONG_AGO = timedelta(minutes=10)


def test_a_batch_delivered_twice_changes_nothing(desk: Desk) -> None:
    batch = episode("opened", "escalated") + episode("opened", machine_id="machine-002")
    assert len(desk.take_in(batch).applied) == 3
    asyncio.run(desk.notifier().send_due())
    before = desk.dump()
    again = desk.take_in(batch + batch)
    assert (again.applied, again.stale, again.duplicates) == ([], 0, 6)
    asyncio.run(desk.notifier().send_due())
    assert desk.dump() == before
    assert len(desk.sent) == 3


def test_an_id_twice_in_one_batch_counts_once(desk: Desk) -> None:
    (opened,) = episode("opened")
    taken = desk.take_in([opened, opened])
    assert (len(taken.applied), taken.duplicates) == (1, 1)


def test_in_whatever_order_events_come_the_newest_stands(desk: Desk) -> None:
    for order in itertools.permutations(range(4)):
        events = episode("opened", "escalated", "eased", "cleared")
        for position in order:
            desk.take_in([events[position]])
        ((seq, event, is_active, reasons),) = desk.rows(
            f"SELECT seq, event, is_active, reasons FROM portal.alert WHERE episode_id = '{events[0].event.episode_id}'"
        )
        assert (seq, event, is_active, reasons) == (4, "cleared", False, ["reason 4"])


def test_an_opening_that_comes_after_the_end_is_told_as_over_and_reopens_nothing(desk: Desk) -> None:
    opened, cleared = episode("opened", "cleared")
    desk.take_in([cleared])
    assert desk.take_in([opened]).stale == 1
    asyncio.run(desk.notifier().send_due())
    assert desk.sent == ["machine-001 과부하 해소", "!!긴급!! machine-001 과부하 감지 (이미 해소됨)"]


def test_each_line_is_sent_in_order_and_what_is_over_says_so(desk: Desk) -> None:
    events = episode("opened", "eased", "escalated", "cleared")
    desk.take_in(events[:1])
    asyncio.run(desk.notifier().send_due())
    desk.take_in(events[1:])
    asyncio.run(desk.notifier().send_due())
    assert desk.sent == [
        "!!긴급!! machine-001 과부하 감지",
        "!!긴급!! machine-001 과부하 감지 (이미 해소됨)",
        "machine-001 과부하 해소",
    ]


def test_after_an_outage_one_page_for_what_is_still_open_and_none_for_what_is_over(desk: Desk) -> None:
    then = datetime.now(UTC) - LONG_AGO
    desk.take_in(episode("opened", "escalated", machine_id="open-still", at=then))
    desk.take_in(episode("opened", "cleared", machine_id="over-long-ago", at=then))
    desk.take_in(episode("opened", machine_id="pdm-verify-01"))
    asyncio.run(desk.notifier().send_due())
    assert desk.sent == ["!!긴급!! open-still 과부하 감지"]
    states = desk.rows("SELECT state, count(*) FROM portal.notification GROUP BY 1 ORDER BY 1")
    assert states == [("dropped", 3), ("sent", 1)]
    assert desk.rows("SELECT count(*) FROM portal.alert") == [(3,)]


def test_several_senders_share_the_rows_and_each_is_sent_once(desk: Desk) -> None:
    desk.take_in([item for number in range(120) for item in episode("opened", machine_id=f"machine-{number:03}")])

    async def all_at_once() -> None:
        await asyncio.gather(*(desk.notifier().send_due() for _ in range(4)))

    asyncio.run(all_at_once())
    assert sorted(desk.sent) == [f"!!긴급!! machine-{number:03} 과부하 감지" for number in range(120)]


def test_a_channel_that_fails_is_tried_again_later(desk: Desk) -> None:
    desk.take_in(episode("opened"))
    desk.failures = [ConnectionError("mail server away")]
    asyncio.run(desk.notifier().send_due())
    assert desk.sent == []
    ((state, attempts, detail, is_due),) = desk.rows(
        "SELECT state, attempts, detail, next_attempt_at <= now() FROM portal.notification"
    )
    assert (state, attempts, detail, is_due) == ("pending", 1, "ConnectionError: mail server away", False)
    _make_due(desk)
    asyncio.run(desk.notifier().send_due())
    assert len(desk.sent) == 1


def test_a_channel_that_always_fails_is_given_up_and_says_why(desk: Desk) -> None:
    desk.take_in(episode("opened"))
    desk.failures = [ConnectionError("gone") for _ in range(MAX_ATTEMPTS + 1)]
    for _ in range(MAX_ATTEMPTS):
        asyncio.run(desk.notifier().send_due())
        _make_due(desk)
    assert desk.rows("SELECT state, detail FROM portal.notification") == [("failed", "ConnectionError: gone")]


def test_who_lost_the_lease_settles_nothing(desk: Desk) -> None:
    desk.take_in(episode("opened"))
    with transaction(desk.pool) as conn:
        (slow,) = claim_notifications(conn, 10, LEASE)
    with transaction(desk.pool) as conn:
        assert claim_notifications(conn, 10, LEASE) == []
    _make_due(desk)  # the lease is over: the sender was killed, or is very slow
    with transaction(desk.pool) as conn:
        (next_one,) = claim_notifications(conn, 10, LEASE)
        assert not settle_notification(conn, slow, "failed", None, "")
        assert settle_notification(conn, next_one, "sent", "line", "")
    assert desk.rows("SELECT state FROM portal.notification") == [("sent",)]


def test_what_was_told_is_not_told_again_when_the_database_failed_before_it_was_noted(desk: Desk) -> None:
    desk.take_in(episode("opened"))
    told = []

    async def tell(message: str, _: AlertEvent) -> None:
        told.append(message)
        with connect(desk.database.conninfo("owner"), "test") as conn:
            conn.execute("REVOKE UPDATE ON portal.notification FROM pdm_portal")

    notifier = Notifier(desk.pool, {"test": tell}, "ko", lambda: datetime.now(UTC))
    with pytest.raises(Retryable):
        asyncio.run(notifier.send_due())
    with connect(desk.database.conninfo("owner"), "test") as conn:
        conn.execute("GRANT UPDATE ON portal.notification TO pdm_portal")
    _make_due(desk)
    asyncio.run(notifier.send_due())
    assert told == ["!!긴급!! machine-001 과부하 감지"]
    assert desk.rows("SELECT state, message FROM portal.notification") == [("sent", told[0])]


def test_a_second_writer_waits_so_that_no_page_passes_over_the_first(desk: Desk) -> None:
    first, second = episode("opened", machine_id="machine-001"), episode("opened", machine_id="machine-002")
    writer = threading.Thread(target=desk.take_in, args=[second])

    async def story() -> list[str]:
        feed = Feed(desk.pool)
        async with _following(feed), aclosing(await feed.open(0)) as stream:
            with transaction(desk.pool) as conn:
                take_in(conn, first, ["test"])
                writer.start()
                await asyncio.to_thread(_wait_for_waiter, desk)
            return [machine for _, machine in await _alerts(stream, 2)]

    assert asyncio.run(story()) == ["machine-001", "machine-002"]
    writer.join()


def test_many_writers_and_a_page_that_misses_none(desk: Desk) -> None:
    async def story() -> list[tuple[int, str]]:
        feed = Feed(desk.pool)
        async with _following(feed), aclosing(await feed.open(0)) as stream:
            writing = asyncio.to_thread(together, 6, lambda number: _write(desk, number, 20))
            received, _ = await asyncio.gather(_alerts(stream, 120), writing)
            return received

    received = asyncio.run(story())
    assert [event_id for event_id, _ in received] == [
        row[0] for row in desk.rows("SELECT id FROM portal.event_log ORDER BY 1")
    ]


def test_a_page_that_comes_back_gets_what_it_missed(desk: Desk) -> None:
    for number in range(1, 6):
        desk.take_in(episode("opened", machine_id=f"machine-{number}"))

    async def story() -> None:
        feed = Feed(desk.pool)
        async with _following(feed), aclosing(await feed.open(3)) as stream:
            assert await _alerts(stream, 2) == [(4, "machine-4"), (5, "machine-5")]
            await asyncio.to_thread(desk.take_in, episode("opened", machine_id="machine-6"))
            assert await _alerts(stream, 1) == [(6, "machine-6")]

    asyncio.run(story())


def test_a_page_from_before_the_log_starts_afresh(desk: Desk) -> None:
    for number in range(1, 6):
        desk.take_in(episode("opened", machine_id=f"machine-{number}"))
    with transaction(desk.pool) as conn:
        conn.execute("UPDATE portal.event_log SET created_at = now() - interval '25 hours' WHERE id <= 3")
        assert prune_event_log(conn, timedelta(hours=24)) == 3
    assert asyncio.run(_first_event(desk, 2)) == ("reset", 5)
    assert asyncio.run(_first_event(desk, 3)) == ("hello", 3)
    assert asyncio.run(_first_event(desk, 99)) == ("reset", 5)
    assert asyncio.run(_first_event(desk, None)) == ("hello", 5)


def test_the_newest_event_survives_pruning(desk: Desk) -> None:
    desk.take_in(episode("opened", "cleared"))
    with transaction(desk.pool) as conn:
        assert prune_event_log(conn, timedelta(0)) == 1
    assert asyncio.run(_first_event(desk, 1)) == ("hello", 1)
    assert asyncio.run(_first_event(desk, 0)) == ("reset", 2)


def test_a_page_that_does_not_read_is_cut_off_and_the_others_go_on(desk: Desk) -> None:
    async def story() -> None:
        feed, count = Feed(desk.pool), QUEUE_LIMIT + 10
        async with _following(feed), aclosing(await feed.open(0)) as reads, aclosing(await feed.open(0)):
            writing = asyncio.to_thread(desk.take_in, _openings(count))
            await asyncio.gather(_alerts(reads, count), writing)
            assert len(feed.clients) == 1

    asyncio.run(story())


def test_stopping_ends_every_stream(desk: Desk) -> None:
    async def story() -> None:
        feed = Feed(desk.pool)
        async with _following(feed):
            stream = await feed.open(None)
            await anext(stream)
        async with asyncio.timeout(1):
            assert [message async for message in stream] == []
            assert [message async for message in await feed.open(0)][1:] == []

    asyncio.run(story())


def test_pruning_keeps_what_is_young_or_not_yet_sent(desk: Desk) -> None:
    desk.take_in(episode("opened"))
    with transaction(desk.pool) as conn:
        assert (prune_inbox(conn, timedelta(hours=1)), prune_notifications(conn, timedelta(0))) == (0, 0)
    asyncio.run(desk.notifier().send_due())
    with transaction(desk.pool) as conn:
        assert (prune_inbox(conn, timedelta(0)), prune_notifications(conn, timedelta(0))) == (1, 1)


@asynccontextmanager
async def _following(feed: Feed) -> AsyncIterator[None]:
    running = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _alerts(stream: AsyncIterator[bytes], count: int) -> list[tuple[int, str]]:
    """Id and machine of the next alerts, other events passed over."""
    found: list[tuple[int, str]] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            fields = _fields(await anext(stream))
            if fields["event"] == "alert":
                found.append((int(fields["id"]), json.loads(fields["data"])["machine_id"]))
    return found


async def _first_event(desk: Desk, last_id: int | None) -> tuple[str, int]:
    async with aclosing(await Feed(desk.pool).open(last_id)) as stream:
        fields = _fields(await anext(stream))
    return fields["event"], int(fields["id"])


def _fields(wire: bytes) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in wire.decode().splitlines() if line)


def _write(desk: Desk, number: int, count: int) -> None:
    for item in _openings(count, f"writer-{number}"):
        desk.take_in([item])


def _openings(count: int, prefix: str = "machine") -> list[Incoming]:
    return [item for number in range(count) for item in episode("opened", machine_id=f"{prefix}-{number}")]


def _wait_for_waiter(desk: Desk) -> None:
    """Until another session waits for the lock of the event log."""
    until = time.monotonic() + 10
    while not desk.rows("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
        assert time.monotonic() < until, "nobody waits for the lock"


def _make_due(desk: Desk) -> None:
    with transaction(desk.pool) as conn:
        conn.execute("UPDATE portal.notification SET next_attempt_at = now() WHERE state = 'pending'")
