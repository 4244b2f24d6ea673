"""A second outbox in the one-server setting: its database stands on the server that takes every reading, and idles."""

import os
import signal
from dataclasses import dataclass

import psycopg

from pdm.config import AiDatabase, Settings
from pdm.connect import SLOT, ConnectClient, connector_config
from pdm.local.postgres import SLOT_KEEPS
from pdm.store.schema import upgrade_ai
from tests.faults.engines import Engines
from tests.faults.gauges import SlotLooks
from tests.faults.rig import Rig
from tests.faults.roles import wait_until

DATABASE = "pdm_ai_one"
CONNECTOR = "pdm-outbox-one"
STREAMS_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class OneServer:
    """`settings`: those of an installation with one server, as far as its relay needs them."""

    settings: Settings

    def looks(self) -> SlotLooks:
        return SlotLooks(self.settings.ai_db.conninfo("owner"), SLOT)


def add_second_outbox(rig: Rig) -> OneServer:
    """Returns once its relay streams. The main server is restarted for it, as wal_level needs that."""
    settings = _settings(rig.engines)
    _make_logical(rig)
    with psycopg.connect(rig.settings.main_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {DATABASE}".encode())
    upgrade_ai(settings.ai_db)
    rig.loop.run(_relay(settings), 30)
    with psycopg.connect(settings.ai_db.conninfo("owner"), autocommit=True) as conn:
        active = "SELECT FROM pg_replication_slots WHERE slot_name = %s AND database = current_database() AND active"
        wait_until(lambda: conn.execute(active, [SLOT]).rowcount == 1, STREAMS_WITHIN_S, f"{CONNECTOR} streams")
    rig.wait_ready()
    return OneServer(settings)


def _settings(engines: Engines) -> Settings:
    main, ai = engines.settings.main_db, engines.settings.ai_db
    database = AiDatabase(
        url=main.url.rpartition("/")[0] + f"/{DATABASE}",
        owner_password=main.owner_password,
        inference_password=main.inference_password,
        portal_password=main.portal_password,
        cdc_password=ai.cdc_password,
    )
    connect = engines.settings.connect.model_copy(update={"connector": CONNECTOR})
    return engines.settings.model_copy(update={"ai_db": database, "connect": connect})


def _make_logical(rig: Rig) -> None:
    """As the local ai server is started, kept across kills by the server's own file."""
    with psycopg.connect(rig.settings.main_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET wal_level = 'logical'")
        conn.execute(f"ALTER SYSTEM SET max_slot_wal_keep_size = '{SLOT_KEEPS}'".encode())
    before = set(rig.engines.pids("postgres-main"))
    for pid in before:
        os.kill(pid, signal.SIGINT)
    wait_until(lambda: set(rig.engines.pids("postgres-main")) - before, 30, "the main server started again")
    rig.wait_engine("postgres-main")


async def _relay(settings: Settings) -> None:
    """As `pdm setup` configures it, but with names and topics of its own: its probes must not pass for the others'."""
    config = connector_config(settings) | {
        "topic.prefix": "pdm-one",
        "transforms.outbox.route.topic.replacement": "one-${routedByValue}",
    }
    async with ConnectClient(settings) as client:
        await client.apply(config)
