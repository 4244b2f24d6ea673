"""`pdm setup`: brings databases, topics and relay to this version, in order. Idempotent; many may run at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

from pdm.config import Settings
from pdm.connect import ConnectClient, ConnectorState, connector_config
from pdm.errors import Misconfigured, Retryable
from pdm.relay import send_probe
from pdm.store.partitions import Bounds, ensure_partitions
from pdm.store.pool import connect
from pdm.store.schema import upgrade_ai, upgrade_main
from pdm.topics import ensure_topics

PAUSE_S = 0.5
PROBE_TIMEOUT_S = 10.0  # then the connector's state is looked at again

ONE_SERVER = (
    "both databases are on one server: the relay's slot then holds back and decodes the WAL of every reading too, "
    "and may be lost under load; give the ai database a small server of its own"
)


@dataclass(frozen=True, slots=True)
class Step:
    """Where one step of the set-up stands, as told to a person. A warning is left for that person to act on."""

    name: str
    state: Literal["waiting", "done", "warning"]
    detail: str
    seconds: float


Report = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """No detail: the step was left undone, and a warning says why."""

    detail: str
    warnings: tuple[str, ...] = ()


async def run_setup(settings: Settings, report: Report, timeout_s: float = 120.0) -> None:
    """Do every step, waiting for engines that are still starting, and report each as it ends.

    Returns once a row put into the outbox has come back from Kafka, or the connector turned out to be paused.
    Raises Retryable with what is still missing when `timeout_s` is over, Misconfigured when waiting cannot help.
    """
    if _address(settings.main_db.url) == _address(settings.ai_db.url):
        raise Misconfigured("main and ai must be two databases", hint="Mend PDM_MAIN_DB__URL or PDM_AI_DB__URL.")
    deadline = time.monotonic() + timeout_s
    step = partial(_step, report=report, deadline=deadline)
    async with ConnectClient(settings) as client:
        await asyncio.gather(
            _set_up_databases(settings, step),
            step("topics", partial(_set_up_topics, settings)),
            step("connect", partial(_reach_connect, client)),
        )
        await step("connector", partial(_set_up_connector, settings, client))
        await step("relay", partial(_prove_relay, settings, client, deadline))


async def _step(name: str, act: Callable[[], Awaitable[_Outcome]], report: Report, deadline: float) -> None:
    """Try `act` until it stops raising Retryable or the time is over."""
    began = time.monotonic()
    while True:
        try:
            outcome = await act()
            break
        except Retryable as error:
            if time.monotonic() > deadline:
                raise Retryable(f"{name}: {error}", hint=error.hint) from error
            report(Step(name, "waiting", str(error), time.monotonic() - began))
        await asyncio.sleep(PAUSE_S)
    seconds = time.monotonic() - began
    if outcome.detail:
        report(Step(name, "done", outcome.detail, seconds))
    for warning in outcome.warnings:
        report(Step(name, "warning", warning, seconds))


async def _set_up_databases(settings: Settings, step: Callable[..., Awaitable[None]]) -> None:
    """One after the other: on one server the same roles would be made twice at once."""
    await step("database main", partial(_set_up_main, settings))
    await step("database ai", partial(_set_up_ai, settings))


async def _set_up_main(settings: Settings) -> _Outcome:
    await asyncio.to_thread(upgrade_main, settings.main_db)
    bounds = await asyncio.to_thread(_make_partitions, settings)
    return _Outcome(f"tables, roles and days up to {bounds.end:%Y-%m-%d} at {_address(settings.main_db.url)}")


def _make_partitions(settings: Settings) -> Bounds:
    """The ingestor makes them ahead from then on; made here too, so that its first batch finds them."""
    with connect(settings.main_db.conninfo("ingestor"), "pdm.setup") as conn:
        return ensure_partitions(conn, datetime.now(UTC).date(), ahead=settings.ingestor.partitions_ahead)


async def _set_up_ai(settings: Settings) -> _Outcome:
    await asyncio.to_thread(upgrade_ai, settings.ai_db)
    servers = {_server(settings.main_db.url), _server(settings.ai_db.url)}
    warnings = (ONE_SERVER,) if len(servers) == 1 else ()
    return _Outcome(f"tables, roles and publication at {_address(settings.ai_db.url)}", warnings)


async def _set_up_topics(settings: Settings) -> _Outcome:
    topics = await ensure_topics(settings.kafka)
    if unmade := [topic.spec.name for topic in topics if not topic.partitions]:
        raise Retryable(f"Kafka does not show {', '.join(unmade)} yet")
    warnings = tuple(f"{topic.spec.name}: {said}" for topic in topics for said in topic.complaints)
    return _Outcome(", ".join(topic.spec.name for topic in topics), warnings)


async def _reach_connect(client: ConnectClient) -> _Outcome:
    return _Outcome(f"Kafka Connect {await client.version()}")


async def _set_up_connector(settings: Settings, client: ConnectClient) -> _Outcome:
    is_changed = await client.apply(connector_config(settings))
    return _Outcome(f"{settings.connect.connector} {'configured' if is_changed else 'as it should be'}")


async def _prove_relay(settings: Settings, client: ConnectClient, deadline: float) -> _Outcome:
    state = await client.state()
    if state is not None and state.is_paused:
        return _Outcome("", (_paused(settings, state),))
    if state is not None and state.has_failed:
        await client.restart_failed()
        raise Retryable(str(state), hint="The log of Kafka Connect tells more.")
    left_s = max(1.0, deadline - time.monotonic())
    seconds = await send_probe(settings, min(PROBE_TIMEOUT_S, left_s))
    return _Outcome(f"a row came from the outbox to Kafka in {seconds * 1000:.0f} ms")


def _paused(settings: Settings, state: ConnectorState) -> str:
    resume = f"{settings.connect.address}/connectors/{settings.connect.connector}/resume"
    return f"the connector is {state.state} and was left so, no alert travels; `curl -X PUT {resume}` resumes it"


def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 5432


def _address(url: str) -> str:
    host, port = _server(url)
    return f"{host}:{port}{urlsplit(url).path}"
