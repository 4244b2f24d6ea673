"""The roles of a fault run: processes that are brought back when they die, as any supervisor would."""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil

from pdm.config import RoleName
from pdm.local.child import Child
from pdm.local.progress import Progress
from pdm.local.roles import role_program
from pdm.local.stack import LocalStack
from tests.faults.engines import Engines, free_port
from tests.faults.proxy import HOST

PAUSE_S = 0.3
READY_TIMEOUT_S = 60.0
CONSUMERS: tuple[RoleName, ...] = ("ingestor", "inference", "portal")


@dataclass
class Role:
    """One process of a role. `environment` may be changed; the next life has it."""

    name: RoleName
    number: int
    port: int
    log: Path
    environment: dict[str, str]
    lives: list[int] = field(default_factory=list)  # process ids
    child: Child | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def pid(self) -> int:
        return self.lives[-1]

    def start(self, stack: LocalStack) -> None:
        program = replace(role_program(stack.place, self.name), log=self.log, environment=self.environment)
        self.child = Child(program, self.stopping, self._see, READY_TIMEOUT_S, pause_after=lambda _: PAUSE_S)
        self.child.start()

    def kill(self) -> None:
        """SIGKILL to this life; the supervisor starts the next."""
        self._send(signal.SIGKILL)

    def kill_and_wait(self) -> None:
        """Return once the next life has begun."""
        before = self.pid
        self.kill()
        wait_until(lambda: self.pid != before, 40, f"{self.name} begun again")

    def restart(self, **environment: str) -> None:
        """Ask it to end; return once its next life, which has this environment on top, has begun."""
        before = self.pid
        self.environment.update(environment)
        self._send(signal.SIGTERM)
        wait_until(lambda: self.pid != before, 40, f"{self.name} restarted")

    def crash_at(self, point: str, timeout_s: float = 60.0) -> None:
        """Have the next life kill itself at a crash point, and return once the one after it, a plain one, has begun."""
        self.restart(PDM_CRASH=point)
        del self.environment["PDM_CRASH"]
        armed = self.pid
        wait_until(lambda: self.pid != armed, timeout_s, f"{self.name} came by {point}")

    def pause(self) -> None:
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        wait_until(self.is_ready, timeout_s, f"{self.name} is ready")

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://{HOST}:{self.port}/health/ready", timeout=3, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def end(self) -> None:
        """For good. What ignores SIGTERM for 25 s is killed."""
        self.stopping.set()
        self._send(signal.SIGCONT)
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + 25
        while self.lives and _is_alive(self.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._send(signal.SIGKILL)
        if self.child is not None:
            self.child.join(5)

    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def _send(self, number: signal.Signals) -> None:
        if self.lives:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def _see(self, progress: Progress) -> None:
        if progress.state == "running":
            self.lives.append(int(progress.detail.rpartition(" ")[2]))


def make_role(engines: Engines, name: RoleName, number: int, **environment: str) -> Role:
    """`number` 1 is the usual one; others are further replicas with an instance name of their own."""
    port = free_port()
    client = name if name != "simulator" else "sender"
    given = {
        **engines.environment(client),
        f"PDM_HTTP__{name.upper()}_PORT": str(port),
        "PDM_KAFKA__INSTANCE_ID": f"faults-{number}",
        "PDM_LOG__FORMAT": "json",
        **environment,
    }
    return Role(name, number, port, engines.stack.folder.logs / f"{name}-{number}.log", given)


def wait_until(is_so: Callable[[], object], timeout_s: float, what: str) -> None:
    """Raises TimeoutError naming what did not come true."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
