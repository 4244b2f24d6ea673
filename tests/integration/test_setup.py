"""`pdm setup` on real engines: repeatable, from many places at once, and honest about what it found."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import psycopg
import pytest

from pdm.config import AiDatabase, DatabaseSettings, MainDatabase, Settings
from pdm.doctor import Finding, examine
from pdm.errors import Misconfigured
from pdm.setup import Step, run_setup
from pdm.store.pool import connect
from pdm.store.schema import Environment, migration_state, upgrade_ai, upgrade_main
from pdm.topics import TopicFound, ensure_topics, find_topics


@pytest.fixture
def fresh_main(stack: Settings) -> Iterator[MainDatabase]:
    with fresh_database(stack.main_db) as url:
        yield stack.main_db.model_copy(update={"url": url})


@pytest.fixture
def fresh_ai(stack: Settings) -> Iterator[AiDatabase]:
    with fresh_database(stack.ai_db) as url:
        yield stack.ai_db.model_copy(update={"url": url})


@contextmanager
def fresh_database(server: DatabaseSettings) -> Iterator[str]:
    """One more database on that server, empty, for as long as the block lasts."""
    with psycopg.connect(server.conninfo("owner"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE fresh")
        try:
            yield server.url.rpartition("/")[0] + "/fresh"
        finally:
            conn.execute("DROP DATABASE fresh WITH (FORCE)")


def set_up(settings: Settings) -> list[Step]:
    steps: list[Step] = []
    asyncio.run(run_setup(settings, steps.append, timeout_s=60))
    return steps


def test_a_second_setup_changes_nothing_and_proves_the_relay(stack: Settings) -> None:
    steps = set_up(stack)

    done = {step.name: step.detail for step in steps if step.state == "done"}
    assert list(done)[-2:] == ["connector", "relay"]
    assert "as it should be" in done["connector"]
    assert "from the outbox to Kafka" in done["relay"]
    assert not [step for step in steps if step.state == "warning"]


def test_many_setups_at_once_all_succeed(stack: Settings) -> None:
    async def many() -> None:
        await asyncio.gather(*(run_setup(stack, lambda _step: None, timeout_s=60) for _ in range(4)))

    asyncio.run(many())


def test_many_migrations_of_empty_databases_at_once_make_one_schema(
    fresh_main: MainDatabase, fresh_ai: AiDatabase
) -> None:
    failures: list[Exception] = []

    def migrate() -> None:
        try:
            upgrade_main(fresh_main)
            upgrade_ai(fresh_ai)
        except Exception as error:  # noqa: BLE001  # told below, by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert has_wanted_version(fresh_main, "main")
    assert has_wanted_version(fresh_ai, "ai")
    assert has_wanted_version(fresh_ai, "portal")


def has_wanted_version(database: DatabaseSettings, environment: Environment) -> bool:
    with connect(database.conninfo("owner"), "test") as conn:
        found, wanted = migration_state(conn, environment)
    return found == wanted


def test_both_databases_on_one_server_work_with_a_warning(stack: Settings) -> None:
    with fresh_database(stack.ai_db) as url:
        beside = stack.model_copy(update={"main_db": MainDatabase(**{**dict(stack.ai_db), "url": url})})

        warnings = [step.detail for step in set_up(beside) if step.state == "warning"]

    assert len(warnings) == 1
    assert "on one server" in warnings[0]


def test_one_database_for_both_is_refused(stack: Settings) -> None:
    same = stack.model_copy(update={"main_db": stack.main_db.model_copy(update={"url": stack.ai_db.url})})

    with pytest.raises(Misconfigured, match="two databases"):
        set_up(same)


def test_a_topic_with_other_settings_is_aligned_and_other_partitions_are_reported(stack: Settings) -> None:
    more = stack.kafka.model_copy(update={"alert_partitions": stack.kafka.alert_partitions + 1})

    async def topics() -> dict[str, TopicFound]:
        await ensure_topics(more)
        return {topic.spec.name: topic for topic in await find_topics(more)}

    found = asyncio.run(topics())

    assert found["anomaly-alerts"].partitions == stack.kafka.alert_partitions
    assert "partitions" in found["anomaly-alerts"].complaints[0]
    assert found["sensor-raw-data"].complaints == []
    assert all(topic.wrong_configs == {} for topic in found.values())


def connector_api(settings: Settings) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{settings.connect.url}/connectors/{settings.connect.connector}")


@asynccontextmanager
async def paused_connector(settings: Settings) -> AsyncIterator[None]:
    async with connector_api(settings) as http:
        await http.put("/pause")
        await wait_for_task(http, "PAUSED")
        try:
            yield
        finally:
            await http.put("/resume")
            await wait_for_task(http, "RUNNING")


async def wait_for_task(http: httpx.AsyncClient, state: str) -> None:
    async with asyncio.timeout(20):
        while (await http.get("/status")).json()["tasks"][0]["state"] != state:  # noqa: ASYNC110  # Connect tells nobody
            await asyncio.sleep(0.1)


def test_a_paused_connector_is_left_paused_and_reported(stack: Settings) -> None:
    steps: list[Step] = []

    async def set_up_while_paused() -> None:
        async with paused_connector(stack):
            await run_setup(stack, steps.append, timeout_s=60)

    asyncio.run(set_up_while_paused())

    assert steps[-1].state == "warning"
    assert "is PAUSED and was left so" in steps[-1].detail


def test_a_failed_relay_is_healed(stack: Settings) -> None:
    """Its password was changed behind its back: set-up sets the right one again and restarts the task."""

    async def break_relay() -> None:
        with psycopg.connect(stack.ai_db.conninfo("owner"), autocommit=True) as conn:
            conn.execute("ALTER ROLE pdm_cdc PASSWORD 'wrong'")
        async with connector_api(stack) as http:
            await http.post("/tasks/0/restart")
            await wait_for_task(http, "FAILED")

    asyncio.run(break_relay())

    relay = set_up(stack)[-1]

    assert (relay.name, relay.state) == ("relay", "done")


def test_doctor_names_a_failed_relay_and_finds_a_healthy_one_well(stack: Settings) -> None:
    async def examine_paused() -> list[Finding]:
        async with paused_connector(stack):
            return await examine(stack, probe_timeout_s=1)

    paused = {finding.part: finding for finding in asyncio.run(examine_paused())}
    healthy = {finding.part: finding for finding in asyncio.run(examine(stack))}

    assert paused["connector"].state == paused["relay"].state == "wrong"
    assert "/resume" in paused["connector"].advice
    wrong = {part for part, finding in healthy.items() if finding.state == "wrong"}
    assert wrong == {"role simulator", "role ingestor", "role inference", "role portal"}
