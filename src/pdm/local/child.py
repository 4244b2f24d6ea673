"""One supervised process: started, watched, started again with growing pauses. Stops nothing: `sweep` does.

A thread a child. It ends when the stack stops, when a restart cannot help, or when it gave up.
"""

import subprocess
import threading
import time
from collections.abc import Callable

from pdm.errors import PdmError
from pdm.local.logfile import LogFile
from pdm.local.program import MISCONFIGURED_EXIT, Program
from pdm.local.progress import Progress, State
from pdm.local.sweep import end_group

POLL_S = 0.05
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 10.0  # who lived that long is not in a crash loop: it was killed, and should be back at once
ENGINE_TRIES = 5  # pauses 0.5 + 1 + 2 + 4 s: long enough for a port to come free, short enough to tell a person


def growing_pause_s(crashes: int) -> float:
    """Seconds before the next start, after that many crashes in a row (1 or more)."""
    return min(FIRST_PAUSE_S * 2.0 ** min(crashes - 1, 16), LONGEST_PAUSE_S)


class Child:
    """`report` hears every change of state, `gave_up` holds the reason once no further start will be tried."""

    def __init__(
        self,
        program: Program,
        stopping: threading.Event,
        report: Callable[[Progress], None],
        start_timeout_s: float,
        pause_after: Callable[[int], float] = growing_pause_s,
    ) -> None:
        self.program = program
        self.gave_up: PdmError | None = None
        self.ready = threading.Event()
        self._stopping = stopping
        self._report = report
        self._start_timeout_s = start_timeout_s
        self._pause_after = pause_after
        self._is_stuck = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log = LogFile(program.log)
        self._thread = threading.Thread(target=self._supervise, name=program.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _supervise(self) -> None:
        crashes = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            problem = self._live_once()
            if self._stopping.is_set():
                return
            crashes = 1 if time.monotonic() - started > STEADY_S else crashes + 1
            self.gave_up = self._verdict(problem, crashes)
            if self.gave_up:
                self._tell("gave_up", started, str(self.gave_up))
                return
            pause_s = self._pause_after(crashes)
            self._tell("crashed", started, f"{problem}; next try in {pause_s:g} s\n{self._log.tail()}")
            self._stopping.wait(pause_s)

    def _live_once(self) -> str:
        """From start to end; how it ended. Raises nothing: a program that cannot be run is a crash too."""
        started = time.monotonic()
        self._tell("starting", started)
        try:
            self._process = self._spawn()
        except OSError as error:
            return f"could not be run: {error}"
        if self._wait_until_ready(self._process, started):
            self._tell("ready" if self.program.is_engine else "running", started, f"process {self._process.pid}")
            self.ready.set()
            self._process.wait()
            self.ready.clear()
        end_group(self._process.pid)
        return how_it_ended(self._process.returncode)

    def _spawn(self) -> subprocess.Popen[bytes]:
        program, account = self.program, self.program.account
        with self._log.open_new_life() as log:
            return subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=program.environment,
                cwd=program.folder,
                start_new_session=True,  # Ctrl-C in the terminal reaches only the stack, which knows the order
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )

    def _wait_until_ready(self, process: subprocess.Popen[bytes], started: float) -> bool:
        """False when it ended, or was killed for not answering in time."""
        is_ready = self.program.is_ready
        while process.poll() is None:
            if is_ready is None or is_ready():
                return True
            if time.monotonic() - started > self._start_timeout_s:
                self._is_stuck = True
                process.kill()
                process.wait()
            if self._stopping.wait(POLL_S):
                process.wait()
        return False

    def _verdict(self, problem: str, crashes: int) -> PdmError | None:
        """Why no further start makes sense; none: try again."""
        if self._is_stuck:
            why = f"did not answer within {self._start_timeout_s:g} s"
        elif self.program.is_engine and crashes >= ENGINE_TRIES:
            why = f"{problem}, {crashes} times in a row"
        elif not self.program.is_engine and self._process and self._process.returncode == MISCONFIGURED_EXIT:
            why = "cannot work as it is configured"
        else:
            return None
        return PdmError(
            f"{self.program.name} {why}; the end of its log:\n{self._log.tail()}",
            hint=f"The whole log: {self.program.log}",
        )

    def _tell(self, state: State, since: float, detail: str = "") -> None:
        self._report(Progress(self.program.name, state, time.monotonic() - since, detail))


def how_it_ended(exit_code: int) -> str:
    """Popen's exit code: negative for a signal."""
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
