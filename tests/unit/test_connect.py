"""The connector's configuration, and what Connect's answers become."""

import asyncio
import gc
import json
import ssl

import httpx
import pytest
from pydantic import SecretStr

from pdm.config import AiDatabase, ConnectSettings, KafkaSettings, Settings
from pdm.connect import ConnectClient, ConnectorState, connector_config
from pdm.errors import Misconfigured, Retryable

SECRET = "s3cret-of-cdc"


@pytest.fixture
def settings() -> Settings:
    return Settings(
        ai_db=AiDatabase(url="postgresql://db.plant:5544/pdm_ai?sslmode=verify-full", cdc_password=SecretStr(SECRET)),
        kafka=KafkaSettings(replication_factor=3),
    )


class FakeConnect:
    """Connect's REST API as far as it is used: one connector's config, and whatever answer it is told to give."""

    def __init__(self, config: dict[str, str] | None = None, answer: httpx.Response | None = None) -> None:
        self.config = config
        self.answer = answer
        self.puts = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            self.puts += 1
            self.config = json.loads(request.content)
            return self.answer or httpx.Response(200, json={})
        if self.answer is not None:
            return self.answer
        return httpx.Response(404, json={}) if self.config is None else httpx.Response(200, json=self.config)

    def client(self, settings: Settings) -> ConnectClient:
        return ConnectClient(settings, transport=httpx.MockTransport(self))


def test_the_connector_reads_the_outbox_as_the_cdc_role(settings: Settings) -> None:
    config = connector_config(settings)

    assert config["database.hostname"] == "db.plant"
    assert config["database.port"] == "5544"
    assert config["database.dbname"] == "pdm_ai"
    assert config["database.sslmode"] == "verify-full"
    assert (config["database.user"], config["database.password"]) == ("pdm_cdc", SECRET)
    assert config["table.include.list"] == "public.outbox"
    assert config["heartbeat.interval.ms"] == "5000"
    assert config["topic.creation.default.replication.factor"] == "3"


def test_the_same_config_is_not_written_again(settings: Settings) -> None:
    connect = FakeConnect()

    async def apply() -> bool:
        async with connect.client(settings) as client:
            return await client.apply(connector_config(settings))

    assert asyncio.run(apply())
    assert not asyncio.run(apply())
    assert connect.puts == 1


@pytest.mark.parametrize(("status", "kind"), [(400, Misconfigured), (409, Retryable), (500, Retryable)])
def test_a_refusal_never_tells_the_password(settings: Settings, status: int, kind: type[Exception]) -> None:
    refusal = httpx.Response(status, json={"message": f"cannot log in with {SECRET}"})

    async def apply() -> None:
        async with FakeConnect({}, refusal).client(settings) as client:
            client_config = connector_config(settings)
            await client.apply(client_config)

    with pytest.raises(kind) as raised:
        asyncio.run(apply())
    assert SECRET not in str(raised.value)


def test_a_missing_connector_has_no_state(settings: Settings) -> None:
    async def state() -> ConnectorState | None:
        async with FakeConnect().client(settings) as client:
            return await client.state()

    assert asyncio.run(state()) is None


@pytest.mark.parametrize(
    ("state", "is_running", "has_failed", "is_paused"),
    [
        (ConnectorState("RUNNING", ("RUNNING",)), True, False, False),
        (ConnectorState("RUNNING", ()), False, False, False),
        (ConnectorState("RUNNING", ("FAILED",), "slot is gone"), False, True, False),
        (ConnectorState("PAUSED", ("PAUSED",)), False, False, True),
        (ConnectorState("STOPPED", ()), False, False, True),
    ],
)
def test_states(state: ConnectorState, is_running: bool, has_failed: bool, is_paused: bool) -> None:
    assert (state.is_running, state.has_failed, state.is_paused) == (is_running, has_failed, is_paused)


async def answer_404(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    await writer.drain()
    writer.close()


def test_looking_again_and_again_holds_no_more_memory() -> None:
    """A client a look, as the relay's guard has it, while the garbage collector comes by every half an hour."""

    def contexts() -> int:
        # By type: isinstance asks each object for its class, at which one of torch's warns.
        return sum(issubclass(type(each), ssl.SSLContext) for each in gc.get_objects())

    async def look(times: int) -> int:
        async with await asyncio.start_server(answer_404, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for _ in range(times):
                async with ConnectClient(Settings(connect=ConnectSettings(url=address))) as client:
                    assert await client.state() is None
        return contexts()

    gc.collect()  # what other tests left is none of this one's
    gc.disable()
    try:
        known = asyncio.run(look(1))
        assert asyncio.run(look(6)) <= known
    finally:
        gc.enable()
