"""The relay's connector: its configuration and Kafka Connect's REST API. No password ever leaves it in a message."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from pdm.config import Settings, credentials_of
from pdm.errors import Misconfigured, PdmError, Retryable

SLOT = "pdm_outbox"
PUBLICATION = "pdm_outbox"
REQUEST_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 20.0
STOP_LOOK_S = 0.2
_STRING = "org.apache.kafka.connect.storage.StringConverter"


@dataclass(frozen=True, slots=True)
class ConnectorState:
    """What Connect says. It says RUNNING for minutes after a slot is lost: only the probe proves the relay."""

    state: str
    task_states: tuple[str, ...]
    trouble: str = ""  # first line of the failure, without its trace

    @property
    def is_running(self) -> bool:
        return self.state == "RUNNING" and self.task_states != () and set(self.task_states) == {"RUNNING"}

    @property
    def has_failed(self) -> bool:
        return "FAILED" in (self.state, *self.task_states)

    @property
    def is_paused(self) -> bool:
        return self.state in ("PAUSED", "STOPPED")

    @property
    def is_stopped(self) -> bool:
        return self.state == "STOPPED" and self.task_states == ()

    def __str__(self) -> str:
        tasks = ", ".join(self.task_states) or "no task"
        return f"connector {self.state}, task {tasks}" + (f": {self.trouble}" if self.trouble else "")


def connector_config(settings: Settings) -> dict[str, str]:
    """Debezium's outbox relay. Holds the password of the `cdc` role: never log it."""
    database = urlsplit(settings.ai_db.url)
    password = settings.ai_db.password("cdc")
    ssl_mode = parse_qs(database.query).get("sslmode", ["prefer"])[0]
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": database.hostname or "127.0.0.1",
        "database.port": str(database.port or 5432),
        "database.dbname": database.path.lstrip("/"),
        "database.user": settings.ai_db.user("cdc"),
        "database.password": password.get_secret_value() if password else "",
        "database.sslmode": ssl_mode,
        "topic.prefix": "pdm",
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "publication.name": PUBLICATION,
        "publication.autocreate.mode": "disabled",
        "table.include.list": "public.outbox",
        # Without a place to go on from, or with one that the slot no longer reaches, every row is sent again: ids
        # repeat, the portal's inbox drops them. In order, and without a week of heartbeats.
        "snapshot.mode": "when_needed",
        "snapshot.select.statement.overrides": "public.outbox",
        "snapshot.select.statement.overrides.public.outbox": "SELECT * FROM public.outbox "
        "WHERE topic_name <> 'cdc-probe' OR created_at > now() - interval '1 minute' ORDER BY created_at, ctid",
        "skipped.operations": "u,d,t",
        "tombstones.on.delete": "false",
        "poll.interval.ms": "50",
        "retriable.restart.connector.wait.ms": "2000",  # once the database is back; the default is 10 s without alerts
        # The heartbeat is an outbox row: it moves the slot on and travels the whole relay, so its age is our health.
        "heartbeat.interval.ms": str(round(settings.connect.heartbeat_s * 1000)),
        "heartbeat.action.query": "INSERT INTO public.outbox (topic_name, msg_key, message_payload) "
        "VALUES ('cdc-probe', 'probe', now()::text)",
        # Topics are never auto-created: without these two the connector hangs on its own heartbeat topic, RUNNING.
        "topic.creation.default.replication.factor": str(settings.kafka.replication_factor),
        "topic.creation.default.partitions": "1",
        "producer.override.acks": "all",
        "key.converter": _STRING,
        "value.converter": _STRING,
        **_outbox_router(),
    }


def _outbox_router() -> dict[str, str]:
    """Each row of `outbox` goes to the topic it names; the heartbeat's own records pass by."""
    return {
        "predicates": "isOutbox",
        "predicates.isOutbox.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        "predicates.isOutbox.pattern": r".*\.outbox",
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.outbox.predicate": "isOutbox",
        "transforms.outbox.table.field.event.id": "id",
        "transforms.outbox.table.field.event.key": "msg_key",
        "transforms.outbox.table.field.event.payload": "message_payload",
        "transforms.outbox.route.by.field": "topic_name",
        "transforms.outbox.route.topic.replacement": "${routedByValue}",
    }


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: each of its own held 0.7 MB until the garbage collector came by, and cost 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


class ConnectClient:
    """One connector through Connect's REST API. Calls raise Retryable (away, rebalancing) or Misconfigured."""

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._name = settings.connect.connector
        self._url = settings.connect.address
        self._password = settings.ai_db.password("cdc")
        self._http = httpx.AsyncClient(
            base_url=self._url,
            auth=credentials_of(settings.connect.url),
            timeout=REQUEST_TIMEOUT_S,
            verify=_tls(),
            trust_env=False,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def version(self) -> str:
        """Connect's version, once it answers."""
        return str((await self._ask("GET", "/"))["version"])

    async def apply(self, config: Mapping[str, str]) -> bool:
        """Bring the connector to `config`; False when it is so already, as writing it again would restart it."""
        wanted = {**config, "name": self._name}
        if await self._ask("GET", f"/connectors/{self._name}/config", absent={}) == wanted:
            return False
        await self._ask("PUT", f"/connectors/{self._name}/config", body=wanted)
        return True

    async def state(self) -> ConnectorState | None:
        """None while there is no such connector."""
        found = await self._ask("GET", f"/connectors/{self._name}/status", absent=None)
        if found is None:
            return None
        parts = [found["connector"], *found["tasks"]]
        trace = next((part["trace"].strip() for part in parts if part.get("trace")), "")
        trouble = trace.partition("\n")[0].rpartition("Exception: ")[2]  # without the name of the Java class
        return ConnectorState(
            found["connector"]["state"],
            tuple(task["state"] for task in found["tasks"]),
            self._without_password(trouble),
        )

    async def restart_failed(self) -> None:
        """Restart what has failed of the connector and its task, and nothing else."""
        query = {"includeTasks": "true", "onlyFailed": "true"}
        await self._ask("POST", f"/connectors/{self._name}/restart", query=query)

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop it and wait until its task is gone: only then does Connect let go of its offsets. Raises Retryable."""
        await self._ask("PUT", f"/connectors/{self._name}/stop")
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    state = await self.state()
                    if state is None or state.is_stopped:
                        return
                    await asyncio.sleep(STOP_LOOK_S)
        except TimeoutError:
            raise Retryable(f"the connector has not stopped within {timeout_s:.0f} s") from None

    async def resume(self) -> None:
        await self._ask("PUT", f"/connectors/{self._name}/resume")

    async def delete_offsets(self) -> None:
        """Of a stopped connector: its next start sends every row of the outbox again."""
        await self._ask("DELETE", f"/connectors/{self._name}/offsets")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        **absent: Any,
    ) -> Any:
        """The JSON answer; `absent` is returned instead of a 404 when given."""
        try:
            answer = await self._http.request(method, path, json=body, params=query)
        except httpx.HTTPError as error:
            raise Retryable(
                f"Kafka Connect at {self._url}: {error or type(error).__name__}",
                hint="Is it running and PDM_CONNECT__URL right?",
            ) from error
        if answer.status_code == 404 and "absent" in absent:
            return absent["absent"]
        if answer.is_success:
            return answer.json() if answer.content else None
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> PdmError:
        try:
            said = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            said = answer.reason_phrase
        message = f"Kafka Connect answered {answer.status_code}: {self._without_password(said)}"
        if answer.status_code == 400:
            hint = "Does the relay's PostgreSQL role, password and address hold from there?"
            return Misconfigured(message, hint=hint)
        return Retryable(message)

    def _without_password(self, said: str) -> str:
        return said.replace(self._password.get_secret_value(), "***") if self._password else said
