"""How everything stands now, for `pdm status`: engines, roles, lag, machines, alerts. Reads only, probes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pdm.config import ALERT_TOPIC, RAW_TOPIC, ROLES, DatabaseSettings, RoleName, Settings, consumer_group
from pdm.connect import ConnectClient
from pdm.errors import PdmError
from pdm.feature_store import FeatureStore
from pdm.role_client import RoleClient
from pdm.store.pool import connect
from pdm.topics import group_lag

CONSUMERS: dict[RoleName, str] = {"ingestor": RAW_TOPIC, "inference": RAW_TOPIC, "portal": ALERT_TOPIC}
SHOWN = 200  # machines and alerts; the portal's pages show more


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    is_ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Overview:
    """`machines` and `alerts` are as the portal serves them; `lag` is None where a group never committed."""

    engines: list[Part]
    roles: list[Part]
    lag: dict[RoleName, int | None] = field(default_factory=dict)
    machines: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        return all(part.is_ok for part in (*self.engines, *self.roles))


async def look_around(settings: Settings) -> Overview:
    """One look at everything. What is away is told as such; raises nothing for it."""
    lag: dict[RoleName, int | None] = {}
    engines: dict[str, Callable[[], Awaitable[str]]] = {
        "kafka": partial(_kafka, settings, lag),
        "database main": partial(_database, settings.main_db),
        "database ai": partial(_database, settings.ai_db),
        "redis": partial(_redis, settings),
        "connect": partial(_connector, settings),
    }
    async with RoleClient(settings, "portal", timeout_s=5.0) as portal:
        engines_found, roles, machines, alerts = await asyncio.gather(
            asyncio.gather(*(_part(name, look) for name, look in engines.items())),
            asyncio.gather(*(_part(role, partial(_role, settings, role)) for role in ROLES)),
            _items(portal, "/api/machines", "machines", limit=SHOWN),
            _items(portal, "/api/alerts", "alerts", active=True, limit=SHOWN),
        )
    return Overview(list(engines_found), list(roles), lag, machines, alerts)


async def _part(name: str, look: Callable[[], Awaitable[str]]) -> Part:
    try:
        return Part(name, True, await look())
    except PdmError as error:
        return Part(name, False, str(error))


async def _items(portal: RoleClient, path: str, name: str, **query: Any) -> list[dict[str, Any]]:
    """Empty while the portal is away, which its own part tells."""
    try:
        items: list[dict[str, Any]] = (await portal.ask("GET", path, **query))[name]
    except PdmError:
        return []
    return items


async def _kafka(settings: Settings, lag: dict[RoleName, int | None]) -> str:
    for role, topic in CONSUMERS.items():
        lag[role] = await group_lag(settings.kafka, consumer_group(role), topic)
    return settings.kafka.bootstrap_servers


async def _database(database: DatabaseSettings) -> str:
    def ask() -> str:
        with connect(database.conninfo("portal"), "pdm.status") as conn:
            return f"PostgreSQL {conn.info.server_version // 10_000}"

    return await asyncio.to_thread(ask)


async def _redis(settings: Settings) -> str:
    store = FeatureStore(settings.redis, "portal")
    try:
        await store.ping()
    finally:
        await store.close()
    return "answers"


async def _connector(settings: Settings) -> str:
    async with ConnectClient(settings) as client:
        state = await client.state()
    if state is None or not state.is_running:
        raise PdmError(str(state or "no connector"))
    return str(state)


async def _role(settings: Settings, role: RoleName) -> str:
    async with RoleClient(settings, role, timeout_s=5.0) as client:
        health = await client.health()
    if failing := [f"{name}: {check['detail']}" for name, check in health["checks"].items() if not check["ok"]]:
        raise PdmError("; ".join(failing))
    return f"ready at {client.url}"
