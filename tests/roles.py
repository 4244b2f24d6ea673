"""The roles as processes of their own on a running stack: where they listen, what they logged, how they end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pdm.config import ROLES, RoleName

READY_S = 60.0


@dataclass(frozen=True)
class RunningRole:
    name: RoleName
    url: str
    log: Path
    process: "subprocess.Popen[bytes]"

    def logged(self) -> str:
        return self.log.read_text()


@contextmanager
def running_roles(
    environment: Mapping[str, str], folder: Path, *names: RoleName, **settings: str
) -> Iterator[dict[RoleName, RunningRole]]:
    """Each of `names`, or every role, answering on a port of its own; ready or not is the caller's to ask."""
    ports = {role: free_port() for role in ROLES}
    listening = {f"PDM_HTTP__{role.upper()}_PORT": str(port) for role, port in ports.items()}
    given = {**os.environ, **environment, **listening, **settings}
    with ExitStack() as ends:
        roles = {}
        for name in names or ROLES:
            log = folder / f"{name}.log"
            process = ends.enter_context(_running(name, given, log))
            roles[name] = RunningRole(name, f"http://127.0.0.1:{ports[name]}", log, process)
        for role in roles.values():
            wait_until_answers(role)
        yield roles


@contextmanager
def _running(name: RoleName, environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "pdm", "run", name], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_until_answers(role: RunningRole) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        assert role.process.poll() is None, role.logged()
        try:
            httpx.get(f"{role.url}/health/live")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{role.name} never answered: {role.logged()}")


def wait_until(is_so: Callable[[], bool], timeout_s: float = READY_S) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
