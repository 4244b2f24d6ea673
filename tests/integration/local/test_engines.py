"""The engines as processes: who can reach them, who starts them again, and that nothing of them is left."""

import asyncio
import json
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from pdm.config import Settings, load_settings, running_file
from pdm.local.folder import AlreadyRunning
from pdm.local.life import folder_mark
from pdm.local.stack import LocalStack
from pdm.local.sweep import Found, find

START_S = 120.0  # two cores may be busy with other tests
GONE_S = 20.0
ENGINES = {"connect", "kafka", "postgres-ai", "postgres-main", "valkey"}


def test_a_second_stack_on_the_folder_is_refused(local_stack: LocalStack) -> None:
    with pytest.raises(AlreadyRunning, match="a stack already runs on") as refused, LocalStack(local_stack.settings):
        pass
    assert refused.value.pid == psutil.Process().pid


def test_another_process_finds_the_stack_and_its_secrets_are_private(
    local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = running_file(local_stack.folder.path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("PDM_DATA_DIR", str(local_stack.folder.path))
    assert load_settings() == local_stack.settings


def test_engines_listen_on_this_machine_only(local_stack: LocalStack) -> None:
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for engine in find(folder_mark(local_stack.folder.id))
        for connection in engine.process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_databases_and_valkey_want_their_passwords(stack: Settings) -> None:
    for url in (stack.main_db.url, stack.ai_db.url):
        with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
            psycopg.connect(url, user="postgres", passfile="/dev/null")
    with Redis.from_url(stack.redis.url) as valkey, pytest.raises(AuthenticationError):
        valkey.ping()


def test_only_the_relayed_server_writes_logical_wal(stack: Settings) -> None:
    for database, level in ((stack.main_db, "replica"), (stack.ai_db, "logical")):
        with psycopg.connect(database.conninfo("owner")) as connection:
            row = connection.execute("SELECT current_setting('wal_level'), current_setting('server_version_num')")
            assert row.fetchone() == (level, "180004")


def test_a_killed_engine_is_back_with_its_password(local_stack: LocalStack) -> None:
    valkey = _engine(local_stack.folder.id, "valkey")
    valkey.kill()
    valkey.wait(GONE_S)
    _until(lambda: _is_served(local_stack.settings), START_S)


def test_killed_stacks_leave_no_process_and_lose_no_data(data_dir: Path) -> None:
    """Life 1 dies with its guard: its engines are left over, and life 2 stops them first. Life 2 dies alone."""
    with _Life(data_dir / "killed") as first:
        settings = first.settings()
        _write(settings)
        first.kill_guard()
        first.kill()
        assert {found.name for found in first.left()} == ENGINES
    with _Life(data_dir / "killed") as second:
        assert second.settings() == settings
        assert _has_what_was_written(settings)
        connect = _engine(second.folder_id(), "connect")
        connect.kill()
        connect.wait(GONE_S)
        _until(lambda: _is_healthy(settings), START_S)
        second.kill()
        _until(lambda: not second.left(), GONE_S)


class _Life:
    """`python -m pdm.local` on a folder, as a process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {"PDM_DATA_DIR": str(folder)}

    def __enter__(self) -> "_Life":
        command = [sys.executable, "-m", "pdm.local"]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith("ready"):
                return self
        raise AssertionError("".join(lines))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=GONE_S)

    def settings(self) -> Settings:
        return Settings.model_validate(json.loads(running_file(self.folder).read_text()))

    def folder_id(self) -> str:
        return str(json.loads((self.folder / "pdm-stack.json").read_text())["id"])

    def left(self) -> list[Found]:
        return find(folder_mark(self.folder_id()))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(GONE_S)

    def kill_guard(self) -> None:
        guards = [
            child for child in psutil.Process(self._process.pid).children() if "pdm.local.guard" in child.cmdline()
        ]
        assert len(guards) == 1
        guards[0].kill()


def _engine(folder_id: str, name: str) -> psutil.Process:
    return next(found.process for found in find(folder_mark(folder_id)) if found.name == name)


def _write(settings: Settings) -> None:
    with psycopg.connect(settings.main_db.conninfo("owner")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    asyncio.run(_with_admin(settings, lambda admin: admin.create_topics([NewTopic("kept", 1, 1)])))


def _has_what_was_written(settings: Settings) -> bool:
    with psycopg.connect(settings.main_db.conninfo("owner")) as connection:
        rows = connection.execute("SELECT answer FROM kept").fetchall()
    topics = asyncio.run(_with_admin(settings, lambda admin: admin.list_topics()))
    return rows == [(42,)] and "kept" in topics


async def _with_admin(settings: Settings, call: Callable[[AIOKafkaAdminClient], Awaitable[list[str]]]) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        return await call(admin)
    finally:
        await admin.close()


def _is_served(settings: Settings) -> bool:
    assert settings.redis.password is not None
    with Redis.from_url(settings.redis.url, password=settings.redis.password.get_secret_value()) as valkey:
        try:
            return bool(valkey.ping())
        except RedisError:
            return False


def _is_healthy(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.connect.url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _until(is_so: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
