"""The audit on the real engines and roles: a whole chain is clean, and each thing broken is told as just that."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from pdm.audit import Audit, Scope, Sent, Trouble, audit
from pdm.config import RAW_TOPIC, Settings
from pdm.events import Reading, encode
from pdm.feature_store import FeatureStore
from pdm.local.stack import LocalStack
from pdm.store.pool import connect
from pdm.topics import group_lag

CALM = (299.0, 309.0, 1500.0, 40.0, 10.0)
OVERLOAD = (299.0, 309.0, 1250.0, 80.0, 10.0)
SECONDS = (10, 20, 50)  # calm, overload, calm: one episode, opened and cleared
WITHIN_S = 120.0
SETTLED_S = 6.0  # the audit leaves younger events alone


@dataclass
class World:
    """Machines with a fault each, what was acknowledged of them, and what was truly wrong with them."""

    settings: Settings
    prefix: str
    portal: "subprocess.Popen[bytes]"
    ledger: list[Sent] = field(default_factory=list)
    truth: list[Trouble] = field(default_factory=list)

    def audit(self, **more: object) -> Audit:
        given = {"ledger": self.ledger, "truth": self.truth, **more}
        return asyncio.run(audit(self.settings, Scope(self.prefix), **given))  # type: ignore[arg-type]  # as given

    @contextmanager
    def frozen_portal(self) -> Iterator[None]:
        """It would mend what is broken: a row that its inbox lacks is asked for again within seconds."""
        self.portal.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.portal.send_signal(signal.SIGCONT)

    def main(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return _execute(self.settings.main_db.conninfo("owner"), statement, values)

    def ai(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return _execute(self.settings.ai_db.conninfo("owner"), statement, values)


def _execute(conninfo: str, statement: str, values: Sequence[object]) -> list[tuple[object, ...]]:
    with connect(conninfo, "test") as conn:
        cursor = conn.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def roles(local_stack: LocalStack) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """The three roles that readings pass, as processes of their own."""
    names = ("ingestor", "inference", "portal")
    environment = {**os.environ, **local_stack.environment}
    started = {}
    with ExitStack() as processes:
        for name in names:
            command = [sys.executable, "-m", "pdm", "run", name]
            given = {**environment, f"PDM_HTTP__{name.upper()}_PORT": str(_free_port())}
            process = started[name] = subprocess.Popen(command, env=given)
            processes.callback(process.wait)
            processes.callback(process.terminate)
        yield started


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def make_world(roles: dict[str, "subprocess.Popen[bytes]"], stack: Settings) -> Callable[..., World]:
    def make(*machines: str, bad: Sequence[str] = ()) -> World:
        world = World(stack, f"audit-{secrets.token_hex(3)}-", roles["portal"])
        asyncio.run(_send(world, machines, bad))
        _wait_until(lambda: world.ai(_TOLD, world.prefix)[0][0] == 2 * len(machines))
        _wait_until(lambda: all(_lag(stack, group) == 0 for group in ("pdm.ingestor", "pdm.inference")))
        time.sleep(SETTLED_S)
        return world

    return make


def _lag(settings: Settings, group: str) -> int | None:
    return asyncio.run(group_lag(settings.kafka, group, RAW_TOPIC))


_TOLD = "SELECT count(*) FROM portal.notification WHERE state <> 'pending' AND starts_with(event ->> 'machine_id', %s)"


async def _send(world: World, machines: Sequence[str], bad: Sequence[str]) -> None:
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=sum(SECONDS))
    parts = [CALM] * SECONDS[0] + [OVERLOAD] * SECONDS[1] + [CALM] * SECONDS[2]
    async with AIOKafkaProducer(
        bootstrap_servers=world.settings.kafka.bootstrap_servers, acks="all", enable_idempotence=True
    ) as producer:
        for name in machines:
            machine_id = world.prefix + name
            sends = []
            for second, values in enumerate(parts):
                reading = Reading(machine_id, start + timedelta(seconds=second), *values, channels={"hum_db": 1.5})
                sends.append((reading, await producer.send(RAW_TOPIC, encode(reading), key=machine_id.encode())))
            for reading, send in sends:
                place = await send
                world.ledger.append(Sent(machine_id, reading.timestamp, place.partition, place.offset))
            if name in bad:
                conflicting = Reading(machine_id, start, *OVERLOAD)
                for value in (b"not json", encode(conflicting)):
                    await producer.send_and_wait(RAW_TOPIC, value, key=machine_id.encode())
            began, ended = start + timedelta(seconds=SECONDS[0]), start + timedelta(seconds=sum(SECONDS[:2]))
            world.truth.append(Trouble(machine_id, began, ended))


def _wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def told(found: Audit, prefix: str) -> dict[str, list[tuple[str, str]]]:
    """By machine: check and kind of each finding."""
    by_machine: dict[str, list[tuple[str, str]]] = {}
    for finding in found.findings:
        kind = finding.what.partition(": ")[0]
        by_machine.setdefault(finding.machine_id.removeprefix(prefix), []).append((finding.check, kind))
    return by_machine


def lose_reading(world: World, machine_id: str) -> None:
    world.main("DELETE FROM sensor_log WHERE machine_id = %s AND timestamp = %s", machine_id, world.ledger[3].timestamp)


def change_reading(world: World, machine_id: str) -> None:
    at = world.ledger[3].timestamp
    world.main("UPDATE sensor_log SET rpm = 1 WHERE machine_id = %s AND timestamp = %s", machine_id, at)


def invent_reading(world: World, machine_id: str) -> None:
    world.main(
        "INSERT INTO sensor_log SELECT machine_id, timestamp + interval '0.5 s' FROM sensor_log"
        " WHERE machine_id = %s AND timestamp = %s",
        machine_id,
        world.ledger[3].timestamp,
    )


def lose_bad_record(world: World, machine_id: str) -> None:
    world.main("DELETE FROM dead_letter WHERE key = %s AND reason = 'invalid_json'", machine_id.encode())


def lose_conflict(world: World, machine_id: str) -> None:
    world.main("DELETE FROM dead_letter WHERE key = %s AND reason = 'conflicting_duplicate'", machine_id.encode())


def lose_outbox_row(world: World, machine_id: str) -> None:
    world.ai("DELETE FROM outbox WHERE msg_key = %s AND message_payload LIKE '%%\"opened\"%%'", machine_id)


def double_outbox_row(world: World, machine_id: str) -> None:
    world.ai(
        "INSERT INTO outbox (topic_name, msg_key, message_payload) SELECT topic_name, msg_key, message_payload"
        " FROM outbox WHERE msg_key = %s AND message_payload LIKE '%%\"opened\"%%'",
        machine_id,
    )


_EVENTS = "SELECT id FROM outbox WHERE msg_key = %s AND message_payload LIKE '%%\"opened\"%%'"


def lose_inbox_row(world: World, machine_id: str) -> None:
    world.ai(f"DELETE FROM portal.inbox WHERE event_id IN ({_EVENTS})", machine_id)


def lose_notification(world: World, machine_id: str) -> None:
    world.ai(f"DELETE FROM portal.notification WHERE event_id IN ({_EVENTS})", machine_id)


def lose_alert(world: World, machine_id: str) -> None:
    world.ai("DELETE FROM portal.alert WHERE machine_id = %s", machine_id)


def lose_truth(world: World, machine_id: str) -> None:
    world.truth = [trouble for trouble in world.truth if trouble.machine_id != machine_id]


def invent_truth(world: World, machine_id: str) -> None:
    at = world.ledger[-1].timestamp + timedelta(hours=1)
    world.truth.append(Trouble(machine_id, at, at + timedelta(minutes=1)))


def spoil_feature(world: World, machine_id: str) -> None:
    asyncio.run(_write_features(world, machine_id, {"torque_1m_avg": 12.5}))


def spoil_state(world: World, machine_id: str) -> None:
    asyncio.run(_write_features(world, machine_id, {"state": "critical"}))


def lose_features(world: World, machine_id: str) -> None:
    asyncio.run(_remove_features(world, machine_id))


async def _write_features(world: World, machine_id: str, features: dict[str, str | float | None]) -> None:
    store = FeatureStore(world.settings.redis, "inference")
    await store.write({machine_id: features}, {})
    await store.close()


async def _remove_features(world: World, machine_id: str) -> None:
    store = FeatureStore(world.settings.redis, "inference")
    await store.remove(machine_id)
    await store.close()


BREAKS: dict[Callable[[World, str], None], tuple[str, str]] = {
    lose_reading: ("L", "a reading is not in sensor_log"),
    change_reading: ("L", "sensor_log holds other values than the log"),
    invent_reading: ("D", "sensor_log holds a reading that the log does not"),
    lose_bad_record: ("L", "a bad record is not in dead_letter"),
    lose_conflict: ("L", "another value of a stored reading is not in dead_letter"),
    lose_outbox_row: ("A", "an event is not in the outbox"),
    double_outbox_row: ("D", "the outbox holds an event twice"),
    lose_inbox_row: ("A", "an event is not in the portal's inbox"),
    lose_notification: ("A", "an event has no notification"),
    lose_alert: ("A", "an episode has no alert at the portal"),
    lose_truth: ("A", "an episode without a true fault"),
    invent_truth: ("A", "a true fault has no episode"),
    spoil_feature: ("F", "torque_1m_avg in Redis is not what the log gives"),
    spoil_state: ("F", "state in Redis is not that of the episode"),
    lose_features: ("F", "a machine has no features in Redis"),
}


def test_a_whole_chain_is_clean_and_each_thing_broken_is_told_as_just_that(make_world: Callable[..., World]) -> None:
    names = {break_it.__name__: break_it for break_it in BREAKS}
    world = make_world(*names, "untouched", bad=("lose_bad_record", "lose_conflict", "untouched"))
    clean = world.audit()
    assert told(clean, world.prefix) == {}
    machines = len(names) + 1
    assert clean.counts["readings"] == machines * sum(SECONDS) + 3
    assert clean.counts["dead_letters"] == 6
    assert (clean.counts["episodes"], clean.counts["machines"]) == (machines, machines)
    assert clean.counts["notifications"] == 2 * machines

    for name, break_it in names.items():
        if break_it is not lose_inbox_row:
            break_it(world, world.prefix + name)
    time.sleep(SETTLED_S)
    with world.frozen_portal():
        lose_inbox_row(world, world.prefix + "lose_inbox_row")
        found = told(world.audit(), world.prefix)
    assert found == {name: [BREAKS[break_it]] for name, break_it in names.items()}


def test_without_a_ledger_the_log_itself_decides(make_world: Callable[..., World]) -> None:
    world = make_world("lost", "well")
    world.main("DELETE FROM sensor_log WHERE machine_id = %s", world.prefix + "lost")
    found = world.audit(ledger=None, truth=None)
    assert [finding.machine_id for finding in found.findings] == [world.prefix + "lost"] * 5 + [""]
    assert {finding.check for finding in found.findings} == {"L"}
    assert len(found.findings) == 6  # five by name and time, one that counts the rest
    assert f"{sum(SECONDS) - 5} more" in found.findings[-1].what


def test_a_committed_offset_that_leads_the_ingestors_account_is_told(make_world: Callable[..., World]) -> None:
    world = make_world("well")
    moved = "UPDATE ingest_progress SET next_offset = next_offset + %s, stored = stored + %s WHERE stored > 0"
    world.main(moved, -1, -1)
    try:
        found = world.audit()
    finally:
        world.main(moved, 1, 1)
    assert {(finding.check, finding.what.partition(": ")[0]) for finding in found.findings} == {
        ("O", "the committed offset leads what is stored")
    }
    assert world.audit().is_clean


def test_a_send_that_was_acknowledged_and_is_nowhere_is_lost(make_world: Callable[..., World]) -> None:
    world = make_world("well")
    at = world.ledger[0].timestamp + timedelta(hours=1)
    world.ledger.append(Sent(world.prefix + "well", at, world.ledger[0].partition, world.ledger[0].offset))
    (finding,) = world.audit().findings
    assert (finding.check, finding.what, finding.at) == ("L", "a reading is not in sensor_log", at)
