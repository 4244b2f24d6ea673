"""`pdm doctor`: looks at every part that an alert depends on and says what to do. Writes one probe row, no more."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pdm.config import ROLES, RoleName, Settings
from pdm.connect import PUBLICATION, SLOT, ConnectClient
from pdm.errors import PdmError, Retryable
from pdm.feature_store import FeatureStore
from pdm.relay import send_probe
from pdm.role_client import RoleClient
from pdm.store.pool import Connection, connect
from pdm.store.relay import find_slot, published_tables, wal_level
from pdm.store.schema import Environment, migration_state
from pdm.topics import find_topics

BEHIND_WARNING_BYTES = 256 * 1024 * 1024
SET_UP = "Run `pdm setup`."
LOST_SLOT = (
    "Its WAL is gone. The portal and `pdm up` recover it within seconds, unless the connector is paused or stopped: is "
    "one of them up? Every row of the outbox is then sent again under the same ids; the portal drops those it has."
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found. `advice` is what a person should do; empty while all is well."""

    part: str
    state: Literal["ok", "warning", "wrong"]
    detail: str
    advice: str = ""


Look = Callable[[], Awaitable[list[Finding]]]


async def examine(settings: Settings, probe_timeout_s: float = 10.0) -> list[Finding]:
    """Every finding, in the order of the way that a reading takes. Raises nothing for what is wrong out there."""
    looks: dict[str, Look] = {
        "kafka": partial(_kafka, settings),
        "database main": partial(asyncio.to_thread, _main_database, settings),
        "database ai": partial(asyncio.to_thread, _ai_database, settings),
        "redis": partial(_redis, settings),
        "connect": partial(_connector, settings),
        "relay": partial(_probe, settings, probe_timeout_s),
        **{f"role {role}": partial(_role, settings, role) for role in ROLES},
    }
    found = await asyncio.gather(*(_safely(part, look) for part, look in looks.items()))
    return [finding for findings in found for finding in findings]


async def _safely(part: str, look: Look) -> list[Finding]:
    try:
        return await look()
    except PdmError as error:
        return [Finding(part, "wrong", str(error), error.hint)]


async def _kafka(settings: Settings) -> list[Finding]:
    findings = [Finding("kafka", "ok", settings.kafka.bootstrap_servers)]
    for topic in await find_topics(settings.kafka):
        part = f"topic {topic.spec.name}"
        if not topic.partitions:
            findings.append(Finding(part, "wrong", "missing", SET_UP))
        elif topic.leaderless:
            findings.append(Finding(part, "wrong", "; ".join(topic.complaints), "Is a broker of the cluster down?"))
        elif topic.complaints:
            advice = "Set the PDM_KAFKA__… settings to what is there, or move the topic with Kafka's own tools."
            findings.append(Finding(part, "warning", "; ".join(topic.complaints), advice))
        elif wrong := topic.wrong_configs:
            findings.append(Finding(part, "wrong", f"differs in {', '.join(sorted(wrong))}", SET_UP))
        else:
            findings.append(Finding(part, "ok", f"{topic.partitions} partitions"))
    return findings


def _main_database(settings: Settings) -> list[Finding]:
    with connect(settings.main_db.conninfo("owner"), "pdm.doctor") as conn:
        return [_tables(conn, "main")]


def _ai_database(settings: Settings) -> list[Finding]:
    with connect(settings.ai_db.conninfo("owner"), "pdm.doctor") as conn:
        return [_tables(conn, "ai"), _tables(conn, "portal"), _publication(conn), _slot(conn)]


def _tables(conn: Connection, environment: Environment) -> Finding:
    part = f"tables {environment}"
    found, wanted = migration_state(conn, environment)
    if found == wanted:
        return Finding(part, "ok", f"version {found}")
    if found is None:
        return Finding(part, "wrong", "not set up", SET_UP)
    return Finding(
        part, "wrong", f"version {found}, this program wants {wanted}", f"{SET_UP} Or install the newer pdm."
    )


def _publication(conn: Connection) -> Finding:
    tables = published_tables(conn, PUBLICATION)
    if tables == ["outbox"]:
        return Finding("publication", "ok", "outbox")
    said = f"publishes {', '.join(tables)}" if tables else "missing"
    advice = SET_UP if not tables else f"Publication {PUBLICATION} must hold the table outbox alone."
    return Finding("publication", "wrong", said, advice)


def _slot(conn: Connection) -> Finding:
    if (level := wal_level(conn)) != "logical":
        return Finding("slot", "wrong", f"wal_level is {level}", "Set wal_level=logical on that server and restart it.")
    slot = find_slot(conn, SLOT)
    if slot is None:
        return Finding(
            "slot", "wrong", f"no slot {SLOT}", "The connector makes it when it first runs: see `connector`."
        )
    said = f"{slot.wal_status}, {'read' if slot.is_active else 'not read'}, {slot.behind_bytes / 2**20:.1f} MiB behind"
    if slot.wal_status == "lost":
        return Finding("slot", "wrong", said, LOST_SLOT)
    if not slot.is_active:
        return Finding("slot", "wrong", said, "Nobody reads it, so WAL piles up: see `connector`.")
    if slot.wal_status != "reserved" or slot.behind_bytes > BEHIND_WARNING_BYTES:
        return Finding("slot", "warning", said, "The relay falls behind: watch it, and the disk of that server.")
    return Finding("slot", "ok", said)


async def _redis(settings: Settings) -> list[Finding]:
    store = FeatureStore(settings.redis, "portal")
    try:
        await store.ping()
    finally:
        await store.close()
    return [Finding("redis", "ok", "answers")]


async def _connector(settings: Settings) -> list[Finding]:
    async with ConnectClient(settings) as client:
        findings = [Finding("connect", "ok", f"Kafka Connect {await client.version()}")]
        state = await client.state()
    url = f"{settings.connect.address}/connectors/{settings.connect.connector}"
    if state is None:
        return [*findings, Finding("connector", "wrong", "missing", SET_UP)]
    if state.is_running:
        return [*findings, Finding("connector", "ok", str(state))]
    resume = f"A person did that, so nothing resumes it but a person: `curl -X PUT {url}/resume`."
    advice = (
        resume if state.is_paused else f"The portal restarts it. If that does not help, mend what it says. {SET_UP}"
    )
    return [*findings, Finding("connector", "wrong", str(state), advice)]


async def _probe(settings: Settings, timeout_s: float) -> list[Finding]:
    try:
        seconds = await send_probe(settings, timeout_s)
    except Retryable as error:
        return [Finding("relay", "wrong", str(error), "No alert travels. See `slot`, `connect` and `connector`.")]
    return [Finding("relay", "ok", f"a row came from the outbox to Kafka in {seconds * 1000:.0f} ms")]


async def _role(settings: Settings, role: RoleName) -> list[Finding]:
    async with RoleClient(settings, role, timeout_s=5.0) as client:
        health = await client.health()
    failing = [f"{name}: {check['detail']}" for name, check in health["checks"].items() if not check["ok"]]
    if failing:
        return [Finding(f"role {role}", "wrong", "; ".join(failing), "If nothing above is wrong, its log tells more.")]
    return [Finding(f"role {role}", "ok", "ready")]
