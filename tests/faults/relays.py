"""The relay in trouble: connector, slot, publication and offsets. It heals by itself; what a person paused stays so."""

import time
from collections.abc import Iterator

import httpx
import psycopg

from pdm.connect import PUBLICATION, SLOT
from pdm.crash import CrashPoint
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run
from tests.faults.roles import wait_until

HEALED_WITHIN_S = 120.0
GUARD_POINTS: tuple[CrashPoint, ...] = ("relay.after_stop", "relay.after_delete", "relay.after_resume")


def faults() -> Iterator[Fault]:
    yield Fault("slot dropped while the connector was stopped", ("52",), _slot_dropped, is_quick=True, expected_s=60)
    for point in GUARD_POINTS:
        yield Fault(f"guard killed at {point}", ("52",), _guard_killed(point), expected_s=80)
    yield Fault("slot lost by its bound", ("53",), _slot_lost, expected_s=70)
    yield Fault("publication without the outbox", ("54",), _publication_empty, expected_s=60)
    yield Fault("offsets of the relay deleted", ("55",), _offsets_deleted, expected_s=60)
    yield Fault("connector deleted", ("55",), _connector_deleted, expected_s=60)
    yield Fault("connector task failed", ("14",), _task_failed, expected_s=60)
    yield Fault("connector paused by a person", ("14",), _paused_by_a_person, expected_s=60)


class Connector:
    """Connect's REST API as a person with curl has it."""

    def __init__(self, rig: Rig) -> None:
        settings = rig.settings.connect
        self._url = f"{settings.url}/connectors/{settings.connector}"

    def ask(self, method: str, path: str = "") -> httpx.Response:
        return httpx.request(method, f"{self._url}{path}", timeout=20, trust_env=False)

    def state(self) -> str:
        answer = self.ask("GET", "/status")
        return str(answer.json()["connector"]["state"]) if answer.is_success else "none"

    def stop(self) -> None:
        self.ask("PUT", "/stop").raise_for_status()
        wait_until(lambda: self.state() == "STOPPED", 20, "the connector stopped")


def _healed(rig: Rig, run: Run) -> None:
    """A fresh row comes through without a hand."""
    began = time.monotonic()
    (row,) = rig.ask("ai", _PROBE)
    wait_until(lambda: _came(rig, str(row[0])), HEALED_WITHIN_S, "an outbox row reaches its topic again")
    run.figures["healed_s"] = round(time.monotonic() - began, 1)


_PROBE = """
    INSERT INTO outbox (topic_name, msg_key, message_payload)
    VALUES ('cdc-probe', 'probe', clock_timestamp()::text) RETURNING id
"""


def _came(rig: Rig, probe_id: str) -> bool:
    from pdm.config import PROBE_TOPIC
    from pdm.topics import newest_record

    record = rig.loop.run(newest_record(rig.settings.kafka, PROBE_TOPIC), 15)
    if record is None:
        return False
    ((later,),) = rig.ask(
        "ai", "SELECT %s::timestamptz >= created_at FROM outbox WHERE id = %s", record.value.decode(), probe_id
    )
    return bool(later)


def _owner(rig: Rig) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(rig.settings.ai_db.conninfo("owner"), autocommit=True)


def _drop_slot(rig: Rig) -> None:
    with _owner(rig) as conn:
        held = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active"
        wait_until(lambda: conn.execute(held, [SLOT]).rowcount == 0, 20, "the slot is let go")
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        conn.execute(drop, [SLOT])


def _slot_dropped(rig: Rig, run: Run) -> None:
    """Rows committed while there was no slot are in no WAL that a new slot reads: only the outbox still has them."""
    connector = Connector(rig)
    with run.outage():
        connector.stop()
        _drop_slot(rig)
        time.sleep(5)
        connector.ask("PUT", "/resume").raise_for_status()
        _healed(rig, run)


def _guard_killed(point: CrashPoint) -> Act:
    """The portal dies in the middle of mending the relay, which it had stopped itself; its next life ends the work."""

    def act(rig: Rig, run: Run) -> None:
        connector, portal = Connector(rig), rig.roles["portal"]
        with run.outage():
            portal.restart(PDM_CRASH=point)
            portal.wait_ready()
            del portal.environment["PDM_CRASH"]
            armed = portal.pid
            _lose_slot(rig, connector)
            wait_until(lambda: portal.pid != armed, HEALED_WITHIN_S, f"the guard came by {point}")
            portal.wait_ready()
            _healed(rig, run)

    return act


def _slot_lost(rig: Rig, run: Run) -> None:
    with run.outage():
        _lose_slot(rig, Connector(rig))
        _healed(rig, run)


def _lose_slot(rig: Rig, connector: Connector) -> None:
    """While the connector was stopped its slot idled for longer than it may. The connector is resumed then.

    The bound of WAL would do the same, but stands on the local server's command line, where SQL does not reach it.
    """
    connector.stop()
    lost = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND wal_status = 'lost'"
    with _owner(rig) as conn:

        def is_lost() -> bool:
            conn.execute("CHECKPOINT")  # which looks at the bounds
            return conn.execute(lost, [SLOT]).rowcount == 1

        conn.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
        try:
            conn.execute("SELECT pg_reload_conf()")
            wait_until(is_lost, 20, "the slot is lost")
        finally:
            conn.execute("ALTER SYSTEM RESET idle_replication_slot_timeout")
            conn.execute("SELECT pg_reload_conf()")
    connector.ask("PUT", "/resume").raise_for_status()


def _publication_empty(rig: Rig, run: Run) -> None:
    """Somebody took the table out of the publication; once it is back, what was skipped meanwhile comes too."""
    with run.outage():
        with _owner(rig) as conn:
            conn.execute(f"ALTER PUBLICATION {PUBLICATION} DROP TABLE outbox".encode())
            time.sleep(8)
            conn.execute(f"ALTER PUBLICATION {PUBLICATION} ADD TABLE outbox".encode())
        _healed(rig, run)


def _offsets_deleted(rig: Rig, run: Run) -> None:
    connector = Connector(rig)
    with run.outage():
        connector.stop()
        connector.ask("DELETE", "/offsets").raise_for_status()
        connector.ask("PUT", "/resume").raise_for_status()
        _healed(rig, run)


def _connector_deleted(rig: Rig, run: Run) -> None:
    with run.outage():
        Connector(rig).ask("DELETE").raise_for_status()
        _healed(rig, run)


def _task_failed(rig: Rig, run: Run) -> None:
    """The relay's database role is locked out for a while, which fails the task for good."""
    with run.outage():
        with _owner(rig) as conn:
            conn.execute("ALTER ROLE pdm_cdc NOLOGIN")
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pdm_cdc'")
            time.sleep(15)
            conn.execute("ALTER ROLE pdm_cdc LOGIN")
        _healed(rig, run)


def _paused_by_a_person(rig: Rig, run: Run) -> None:
    connector = Connector(rig)
    with run.outage():
        connector.ask("PUT", "/pause").raise_for_status()
        time.sleep(20)
        run.require(connector.state() == "PAUSED", f"a connector that a person paused is {connector.state()}")
        connector.ask("PUT", "/resume").raise_for_status()
        _healed(rig, run)
