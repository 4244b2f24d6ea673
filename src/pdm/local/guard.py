"""The guard of a stack: a process of its own that stops the engines when `pdm up` was killed.

It holds the reading end of a pipe. The end of the pipe without a farewell means that the other side is gone.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from pdm.local.life import Life
from pdm.local.logfile import LogFile
from pdm.local.sweep import stop_all

NAME = "guard"
FAREWELL = b"done"
LATE_STARTER_S = 0.5  # a process forked in the other side's last moment bears its mark by then
FAREWELL_S = 5.0


class Guard:
    """The stack's side of the pipe."""

    def __init__(self, life: Life, environment: Mapping[str, str], log: LogFile) -> None:
        command = [sys.executable, "-P", "-m", "pdm.local.guard", life.mark_of(NAME)]
        with log.open_new_life() as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """Everything is stopped: let the guard go too."""
        try:
            self._process.communicate(FAREWELL, timeout=FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def watch(mark: str) -> None:
    """Return when dismissed, or when everything that bears the mark has been stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends by the pipe alone
    tell("watching")
    if sys.stdin.buffer.read() == FAREWELL:
        return
    for _ in range(2):
        stop_all(mark, lambda name, seconds: tell(f"{name} stopped in {seconds:.1f} s"))
        time.sleep(LATE_STARTER_S)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    watch(sys.argv[1].removesuffix(NAME))
