"""The relay broken in every way we know, on the real engines: the guard mends it, and every row comes through."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from pdm.config import ALERT_TOPIC, Settings
from pdm.connect import SLOT
from pdm.local.stack import LocalStack
from pdm.relay_guard import News, RelayGuard
from pdm.setup import run_setup
from pdm.store.pool import Connection, connect
from pdm.store.relay import Slot, find_slot
from pdm.store.relay_care import ask_resend, begin_resend, end_resend, forget_action, read_note
from pdm.topics import open_tail

HEAL_S = 45.0
TERMINATE = f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND active"
CRASH_POINTS = ("relay.after_stop", "relay.after_delete", "relay.after_resume")


@dataclass
class Bench:
    """The relay under test: what to break it with, and what came through."""

    settings: Settings
    http: httpx.AsyncClient
    news: list[News] = field(default_factory=list)
    came: dict[str, int] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    def query(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.settings.ai_db.conninfo("owner"), autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def write_row(self) -> str:
        ((row_id,),) = await asyncio.to_thread(
            self.query,
            "INSERT INTO outbox (topic_name, msg_key, message_payload) VALUES (%s, 'machine-001', '{}') RETURNING id",
            ALERT_TOPIC,
        )
        self.rows.append(str(row_id))
        return str(row_id)

    async def all_came(self, within_s: float = HEAL_S) -> None:
        async with asyncio.timeout(within_s):
            while not self.came.keys() >= set(self.rows):  # noqa: ASYNC110  # Kafka's reader tells nobody
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        await self.http.put("/stop")
        await self.until(lambda state: state["connector"]["state"] == "STOPPED" and not state["tasks"])

    async def until(self, is_so: Callable[[dict[str, Any]], bool], within_s: float = 30) -> None:
        async with asyncio.timeout(within_s):
            while not is_so((await self.http.get("/status")).json()):  # noqa: ASYNC110  # Connect tells nobody
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[RelayGuard]:
        guard = RelayGuard(self.settings, self.news.append)
        task = asyncio.create_task(guard.run())
        try:
            yield guard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def actions(self) -> list[str]:
        return [str(news.action) for news in self.news if news.action is not None]


@asynccontextmanager
async def working_bench(settings: Settings) -> AsyncIterator[Bench]:
    """One row has come through; what the test breaks is left mended."""
    base = f"{settings.connect.url}/connectors/{settings.connect.connector}"
    with connect(settings.ai_db.conninfo("owner"), "test") as conn:
        forget_action(conn)
        end_resend(conn)
    async with httpx.AsyncClient(base_url=base, timeout=20) as http, open_tail(settings.kafka, ALERT_TOPIC) as tail:
        bench = Bench(settings, http)

        async def read() -> None:
            async for record in tail:
                row_id = dict(record.headers)["id"].decode()
                bench.came[row_id] = bench.came.get(row_id, 0) + 1

        reader = asyncio.create_task(read())
        try:
            await http.put("/resume")
            await bench.write_row()
            await bench.all_came()
            yield bench
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await http.put("/resume")
            await run_setup(settings, lambda _step: None, timeout_s=60)


async def drop_slot(bench: Bench) -> None:
    """As a person would, while the connector runs: its connection is cut first."""
    for _ in range(100):
        try:
            await asyncio.to_thread(bench.query, f"SELECT pg_drop_replication_slot('{SLOT}')")
        except psycopg.errors.ObjectInUse:
            await asyncio.to_thread(bench.query, TERMINATE)
        else:
            return
    raise AssertionError("the slot cannot be dropped")


async def lose_slot(bench: Bench) -> None:
    """As PostgreSQL does with one that keeps too much; here because it idles for a second."""
    await bench.stop()
    await asyncio.to_thread(bench.query, "ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
    try:
        async with asyncio.timeout(30):
            while (slot := await asyncio.to_thread(look_at_slot, bench.settings)) and slot.wal_status != "lost":
                await asyncio.to_thread(bench.query, "SELECT pg_reload_conf()")
                await asyncio.sleep(0.5)
                await asyncio.to_thread(bench.query, "CHECKPOINT")
    finally:
        await asyncio.to_thread(bench.query, "ALTER SYSTEM RESET idle_replication_slot_timeout")
        await asyncio.to_thread(bench.query, "SELECT pg_reload_conf()")


def look_at_slot(settings: Settings) -> Slot | None:
    with connect(settings.ai_db.conninfo("owner"), "test") as conn:
        return find_slot(conn, SLOT)


def is_read(settings: Settings) -> bool:
    slot = look_at_slot(settings)
    return slot is not None and slot.is_active


async def break_task(bench: Bench) -> None:
    """The relay's password changes for a moment while its connection is cut: the task fails for good."""
    await asyncio.to_thread(bench.query, "ALTER ROLE pdm_cdc NOLOGIN")
    try:
        await bench.http.post("/tasks/0/restart")
        await bench.until(lambda state: "FAILED" in str(state))
    finally:
        await asyncio.to_thread(bench.query, "ALTER ROLE pdm_cdc LOGIN")


async def lose_running(bench: Bench) -> None:
    await lose_slot(bench)
    await bench.write_row()
    await bench.http.put("/resume")


async def make_slot_anew(bench: Bench) -> None:
    await bench.stop()
    await drop_slot(bench)
    await bench.write_row()
    await asyncio.to_thread(bench.query, f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    await bench.http.put("/resume")


async def remove_offsets(bench: Bench) -> None:
    await bench.stop()
    await bench.write_row()
    await bench.http.delete("/offsets")
    await bench.http.put("/resume")


async def delete_connector(bench: Bench) -> None:
    await bench.http.delete("")
    async with asyncio.timeout(30):
        while is_read(bench.settings):  # noqa: ASYNC110  # PostgreSQL tells nobody
            await asyncio.sleep(0.05)


BREAKS: dict[str, tuple[Callable[[Bench], Awaitable[None]], list[str]]] = {
    "task failed": (break_task, ["restart"]),
    "slot lost": (lose_running, ["resend"]),
    "slot dropped": (drop_slot, []),
    "slot made anew": (make_slot_anew, []),
    "offsets removed": (remove_offsets, []),
    "connector deleted": (delete_connector, ["create"]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_relay_heals_by_itself_and_every_row_comes_through(stack: Settings, name: str) -> None:
    break_it, actions = BREAKS[name]

    async def story() -> tuple[Bench, float]:
        async with working_bench(stack) as bench, bench.guarded():
            await break_it(bench)
            broken = time.monotonic()
            await bench.write_row()
            await bench.all_came()
            return bench, time.monotonic() - broken

    bench, seconds = asyncio.run(story())
    logging.getLogger(__name__).info("%s: healed after %.1f s by %s", name, seconds, bench.actions())
    assert bench.actions()[: len(actions)] == actions
    assert all(action in (*actions, "restart") for action in bench.actions())


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_what_a_person_paused_or_stopped_stays_so_and_is_told(stack: Settings, verb: str) -> None:
    async def story() -> Bench:
        async with working_bench(stack) as bench:
            await bench.http.put(f"/{verb}")
            state = {"pause": "PAUSED", "stop": "STOPPED"}[verb]
            await bench.until(lambda found: found["connector"]["state"] == state)
            await bench.write_row()
            guard = RelayGuard(stack, bench.news.append)
            for _ in range(3):
                await guard.turn()
            assert (await bench.http.get("/status")).json()["connector"]["state"] == state
            await bench.http.put("/resume")
            await bench.all_came()
            await guard.turn()
            return bench

    bench = asyncio.run(story())
    assert bench.actions() == []
    assert [bool(news.trouble) for news in bench.news] == [True, False]
    assert "no alert travels" in str(bench.news[0])


def test_a_lost_slot_of_a_stopped_connector_waits_for_the_person_who_stopped_it(stack: Settings) -> None:
    async def story() -> None:
        async with working_bench(stack) as bench:
            await lose_slot(bench)
            await bench.write_row()
            guard = RelayGuard(stack, bench.news.append)
            await guard.turn()
            assert bench.actions() == []
            await bench.http.put("/resume")
            await bench.until(lambda state: "RUNNING" in str(state))
            await guard.turn()
            await bench.all_came()
            assert bench.actions() == ["resend"]

    asyncio.run(story())


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_guard_killed_in_the_middle_is_followed_by_another(
    stack: Settings, local_stack: LocalStack, point: str
) -> None:
    """The stop was ours although the process is gone: the next guard knows, and ends the work."""

    async def story() -> None:
        async with working_bench(stack) as bench:
            await lose_running(bench)
            await bench.until(lambda state: "RUNNING" in str(state))
            done = await asyncio.to_thread(die_at, local_stack, point)
            assert done == -9
            async with bench.guarded():
                await bench.write_row()
                await bench.all_came()
                await asyncio.to_thread(until_noted_as_done, stack)

    asyncio.run(story())


def die_at(local_stack: LocalStack, point: str) -> int:
    program = (
        "import asyncio\nfrom pdm import crash\nfrom pdm.config import load_settings\n"
        "from pdm.relay_guard import RelayGuard\n"
        f"crash.arm('{point}')\nasyncio.run(RelayGuard(load_settings(), print).turn())"
    )
    environment = {**os.environ, **local_stack.environment}
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=60).returncode


def until_noted_as_done(settings: Settings) -> None:
    with connect(settings.ai_db.conninfo("portal"), "test") as conn:
        until_s = time.monotonic() + 20
        while (note := read_note(conn)).resend_reason is not None or note.is_stopped_by_us:
            assert time.monotonic() < until_s, note
            time.sleep(0.1)


def test_a_row_that_the_relay_skipped_is_sent_again_once_somebody_asks(stack: Settings) -> None:
    async def story() -> None:
        async with working_bench(stack) as bench:
            bench.query("ALTER PUBLICATION pdm_outbox DROP TABLE outbox")
            skipped = await bench.write_row()
            bench.query("ALTER PUBLICATION pdm_outbox ADD TABLE outbox")
            later = await bench.write_row()
            bench.rows.remove(skipped)
            await bench.all_came()
            assert later in bench.came
            assert skipped not in bench.came

            bench.rows.append(skipped)
            with connect(stack.ai_db.conninfo("portal"), "test") as conn:
                assert ask_resend(conn, "a row was skipped")
                assert not ask_resend(conn, "again")
            async with bench.guarded():
                await bench.all_came()
            assert bench.actions() == ["resend"]

    asyncio.run(story())


def test_several_guards_do_not_get_in_each_others_way(stack: Settings) -> None:
    async def story() -> None:
        async with working_bench(stack) as bench:
            await lose_running(bench)
            async with bench.guarded(), bench.guarded(), bench.guarded():
                await bench.write_row()
                await bench.all_came()
            assert [news.action for news in bench.news if news.action and news.is_own] == ["resend"]

    asyncio.run(story())


@pytest.fixture
def portal_connection(stack: Settings) -> Iterator[Connection]:
    with connect(stack.ai_db.conninfo("portal"), "test") as conn:
        yield conn


def test_the_portal_may_drop_no_slot_but_a_lost_one(portal_connection: Connection, stack: Settings) -> None:
    ((dropped,),) = portal_connection.execute("SELECT portal.drop_lost_slot(%s)", [SLOT])
    assert dropped is False
    assert look_at_slot(stack) is not None
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        portal_connection.execute(sql.SQL("SELECT pg_drop_replication_slot({})").format(sql.Literal(SLOT)))


def test_a_pause_while_a_resend_is_wanted_is_a_persons(stack: Settings) -> None:
    async def story() -> None:
        async with working_bench(stack) as bench:
            with connect(stack.ai_db.conninfo("portal"), "test") as conn:
                begin_resend(conn, "cut short")
            await bench.http.put("/pause")
            await bench.until(lambda found: found["connector"]["state"] == "PAUSED")
            guard = RelayGuard(stack, bench.news.append)
            await guard.turn()
            assert bench.actions() == []

    asyncio.run(story())
