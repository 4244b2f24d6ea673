"""A local stack from its first process to its last: engines, then roles. Knows the order, no engine's details."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from pdm.config import ROLES, RoleName, Settings, running_file
from pdm.errors import PdmError
from pdm.local import jars, passwords, ports, postgres
from pdm.local.addresses import (
    child_environment,
    located,
    pinned_ports,
    refuse_foreign_addresses,
    running_document,
    usual_ports,
)
from pdm.local.engines import Prepare, check_versions, preparations
from pdm.local.folder import DataFolder
from pdm.local.guard import Guard
from pdm.local.life import Life, folder_mark
from pdm.local.logfile import LogFile
from pdm.local.program import Place
from pdm.local.progress import OnProgress, ignore
from pdm.local.roles import role_program
from pdm.local.supervision import Supervision
from pdm.local.sweep import stop_all

POLL_S = 0.1
PORTS = "ports.json"


class Interrupted(PdmError):
    """A person asked for the end while the stack was still starting."""


class LocalStack:
    """`with LocalStack(settings) as stack:` has the engines up inside and nothing left outside, however it is left.

    `stack.settings` and `stack.environment` lead others to it. `stop` ends the waiting; set it from a signal.
    Raises PdmError: AlreadyRunning, Misconfigured, Interrupted, or what an engine's log says.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_progress: OnProgress = ignore,
        stop: threading.Event | None = None,
        reset: bool = False,
    ) -> None:
        self.folder = DataFolder(settings.data_dir)
        self.settings = settings.model_copy(update={"data_dir": self.folder.path})
        self.environment = child_environment(os.environ, self.folder.path)
        self._stop_wanted = stop or threading.Event()
        self._is_reset = reset
        self._supervision = Supervision(on_progress, settings.local.start_timeout_s)
        self._claims = ports.Claims()
        self._guard: Guard | None = None
        self._place: Place | None = None

    def __enter__(self) -> Self:
        self.folder.claim()
        try:
            self._start_engines()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def place(self) -> Place:
        """Where the running stack lives, for programs that are to run beside it. Raises PdmError before the start."""
        if self._place is None:
            raise PdmError("the stack is not running")
        return self._place

    def start_roles(self, roles: Iterable[RoleName] = ROLES) -> None:
        """Returns at once: a role tells by its own /health/ready when it can work."""
        for role in roles:
            self._supervision.start(role_program(self.place, role))

    def wait(self) -> None:
        """Until `stop` is set. Raises PdmError when an engine gave up."""
        while not self._stop_wanted.wait(POLL_S):
            self._supervision.raise_if_hopeless()

    def _start_engines(self) -> None:
        self._end_earlier_life()
        if self._is_reset:
            self.folder.wipe()
        check_versions(self.folder)
        place = self._place = self._make_place()
        document = running_document(self.settings, place.ports, place.passwords)
        refuse_foreign_addresses(os.environ, document)
        self._guard = Guard(place.life, self.environment, LogFile(place.log("guard")))
        postgres.copy_engine(place)
        with ThreadPoolExecutor() as pool:
            class_path = pool.submit(self._class_path)
            starts = [pool.submit(self._bring_up_in_turn, chain) for chain in preparations(place, class_path)]
            try:
                self._wait_for(lambda: _all_done(starts))
            except BaseException:
                self._supervision.stopping.set()
                raise
        self.settings = located(self.settings, document)
        self.folder.write_json(running_file(self.folder.path).name, document)

    def _make_place(self) -> Place:
        previous = {name: int(port) for name, port in self.folder.read_json(PORTS).items()}
        usual, pinned = usual_ports(self.settings), pinned_ports(os.environ)
        chosen = ports.choose(usual, previous, pinned, self._claims.take)
        self.folder.write_json(PORTS, chosen)
        return Place(
            folder=self.folder,
            life=Life(self.folder.id, secrets.token_hex(4)),
            ports=chosen,
            passwords=passwords.load_or_make(self.folder),
            environment=self.environment,
        )

    def _end_earlier_life(self) -> None:
        """Left over when both the stack and its guard were killed."""
        mark = folder_mark(self.folder.id)
        if left := stop_all(mark, lambda name, age_s: self._supervision.tell(name, "stopped", age_s, "left over")):
            raise PdmError(
                f"processes of an earlier life on {self.folder.path} cannot be stopped: {', '.join(left)}",
                hint="Stop them as the user who started them.",
            )

    def _class_path(self) -> list[Path]:
        def on_missing(count: int) -> None:
            self._supervision.tell(
                "jars", "preparing", 0.0, f"fetching {count} jars of Kafka and Debezium (60 MB, once)"
            )

        started = time.monotonic()
        paths = jars.class_path(self.settings.local.maven_mirror, self._supervision.stopping, on_missing)
        self._supervision.tell("jars", "ready", time.monotonic() - started)
        return paths

    def _bring_up_in_turn(self, chain: Mapping[str, Prepare]) -> None:
        for name, prepare in chain.items():
            if not self._supervision.stopping.is_set():
                self._bring_up(name, prepare)

    def _bring_up(self, name: str, prepare: Prepare) -> None:
        stopping = self._supervision.stopping
        self._supervision.tell(name, "preparing")
        program = prepare()
        if stopping.is_set():
            return
        child = self._supervision.start(program)
        while not (child.ready.wait(POLL_S) or stopping.is_set()):
            if child.gave_up:
                raise child.gave_up

    def _wait_for(self, is_done: Callable[[], bool]) -> None:
        """Raises Interrupted when the end is wanted first, PdmError when an engine gives up."""
        while not is_done():
            self._supervision.raise_if_hopeless()
            if self._stop_wanted.wait(POLL_S):
                raise Interrupted("stopped while starting")

    def _end(self) -> None:
        """Stop everything in order; bounded. The guard goes last: until then it would finish the work."""
        self._supervision.stopping.set()
        if self._place is not None:
            self._supervision.end(self._place.life.mark)
        if self._guard is not None:
            self._guard.dismiss()
        self._claims.release()
        self.folder.release()


def _all_done(starts: list["Future[None]"]) -> bool:
    """Raises what the first failed one raised."""
    for start in starts:
        if start.done():
            start.result()
    return all(start.done() for start in starts)
