"""A private stack for faults: the real engines, and a proxy on every link between them, the roles and the sender."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from pdm.config import Settings
from pdm.local.folder import DataFolder
from pdm.local.ports import Claims
from pdm.local.stack import LocalStack
from pdm.local.sweep import find
from pdm.setup import run_setup
from tests.faults.proxy import HOST, Loop, Proxy

Engine = Literal["kafka", "connect", "postgres-main", "postgres-ai", "valkey"]
Client = Literal["sender", "ingestor", "inference", "portal", "relay"]
Link = tuple[Client, Engine]

KAFKA_CLIENTS: tuple[Client, ...] = ("sender", "ingestor", "inference", "portal")
LINKS: tuple[Link, ...] = (
    *((client, "kafka") for client in KAFKA_CLIENTS),
    ("ingestor", "postgres-main"),
    ("portal", "postgres-main"),
    ("inference", "postgres-ai"),
    ("portal", "postgres-ai"),
    ("relay", "postgres-ai"),
    ("inference", "valkey"),
    ("portal", "valkey"),
)
ENGINES: tuple[Engine, ...] = get_args(Engine)

_claims = Claims()


@dataclass
class Engines:
    """The running engines and the proxies in front of them. `settings` lead past the proxies."""

    stack: LocalStack
    links: dict[Link, Proxy]

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def proxied(self, client: Client) -> Settings:
        """The settings by which `client` reaches every engine through its own links."""
        settings = self.settings

        def port(engine: Engine, direct: int) -> int:
            proxy = self.links.get((client, engine))
            return proxy.port if proxy else direct

        kafka_port = port("kafka", int(settings.kafka.bootstrap_servers.rpartition(":")[2]))
        return settings.model_copy(
            update={
                "kafka": settings.kafka.model_copy(update={"bootstrap_servers": f"{HOST}:{kafka_port}"}),
                "main_db": _moved(settings.main_db, lambda at: port("postgres-main", at)),
                "ai_db": _moved(settings.ai_db, lambda at: port("postgres-ai", at)),
                "redis": _moved(settings.redis, lambda at: port("valkey", at)),
            }
        )

    def environment(self, client: Client) -> dict[str, str]:
        """What a role's process needs to go through its links; passwords come from the stack's own file."""
        settings = self.proxied(client)
        return {
            **self.stack.environment,
            "PDM_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "PDM_MAIN_DB__URL": settings.main_db.url,
            "PDM_AI_DB__URL": settings.ai_db.url,
            "PDM_REDIS__URL": settings.redis.url,
        }

    def pids(self, engine: Engine) -> list[int]:
        """Of the engine's leading process; empty while it is down."""
        return [each.process.pid for each in find(self.stack.place.life.mark) if each.name == engine]

    def signal(self, engine: Engine, number: signal.Signals) -> None:
        """To the whole engine: PostgreSQL's workers stand in the leader's process group."""
        for pid in self.pids(engine):
            os.killpg(pid, number)


@contextmanager
def running_engines(folder: Path, loop: Loop, rng: random.Random, wanted: Sequence[Link] = LINKS) -> Iterator[Engines]:
    """Engines up and set up; the relay reads its database through a proxy. Links that are not wanted are direct."""
    kafka_ports = _prepare_folder(folder, [client for client, engine in wanted if engine == "kafka"])
    with LocalStack(Settings(data_dir=folder)) as stack:
        direct: dict[Engine, int] = {engine: stack.place.ports[engine] for engine in ENGINES}
        links: dict[Link, Proxy] = {}
        for client, engine in wanted:
            listener, advertised = kafka_ports[client] if engine == "kafka" else (direct[engine], free_port())
            links[client, engine] = Proxy(loop, advertised, listener, rng)
        for proxy in links.values():
            proxy.start()
        engines = Engines(stack, links)
        asyncio.run(run_setup(_for_set_up(engines), report=lambda _step: None, timeout_s=120))
        try:
            yield engines
        finally:
            for proxy in links.values():
                proxy.stop()


def _for_set_up(engines: Engines) -> Settings:
    """The connector is told the database's address, so it alone must hear of the proxied one."""
    return engines.settings.model_copy(update={"ai_db": engines.proxied("relay").ai_db})


def _prepare_folder(folder: Path, clients: Sequence[Client]) -> dict[Client, tuple[int, int]]:
    """Ports chosen before the start, and one Kafka listener a client that is advertised as the client's proxy.

    A Kafka client goes where the broker tells it, so a proxy before the bootstrap address alone would be passed by.
    """
    passing = Claims()  # the stack will claim these two itself
    ports = {name: _take_port(passing) for name in ("kafka", "kafka-controller")}
    passing.release()
    listeners = {client: (free_port(), free_port()) for client in clients}
    names = {client: client.upper() for client in clients}
    plain = f"PLAINTEXT://{HOST}:{ports['kafka']}"
    extra = {
        "listeners": ",".join(
            [plain, f"CONTROLLER://{HOST}:{ports['kafka-controller']}"]
            + [f"{names[client]}://{HOST}:{listens}" for client, (listens, _) in listeners.items()]
        ),
        "advertised.listeners": ",".join(
            [plain, *(f"{names[client]}://{HOST}:{advertised}" for client, (_, advertised) in listeners.items())]
        ),
        "listener.security.protocol.map": ",".join(
            f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names.values())
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "delete.topic.enable": "true",
    }
    data = DataFolder(folder)
    data.claim()
    data.write_json("ports.json", ports)
    data.release()
    (folder / "kafka").mkdir(mode=0o700, exist_ok=True)
    (folder / "kafka" / "extra.properties").write_text("".join(f"{name}={value}\n" for name, value in extra.items()))
    return listeners


def free_port() -> int:
    """One that no other stack of this machine will choose, and that no system lends to a client."""
    return _take_port(_claims)


def _take_port(claims: Claims) -> int:
    return next(port for port in iter(lambda: random.randint(20_000, 32_000), None) if claims.take(port))


def _moved(block: Any, port: Any) -> Any:
    parts = urlsplit(block.url)
    host = parts.hostname
    return block.model_copy(update={"url": urlunsplit(parts._replace(netloc=f"{host}:{port(parts.port)}"))})
