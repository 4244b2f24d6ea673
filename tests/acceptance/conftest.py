"""The real command line in processes of its own, on a data folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

UP_TIMEOUT_S = 150.0  # a busy machine, and the jars fetched for the first time
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Cli:
    """`pdm` as a person runs it, with nothing of this machine's settings but the data folder."""

    data_dir: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PDM_")}
        return {**inherited, "PDM_DATA_DIR": str(self.data_dir)}

    def run(self, *args: str, timeout_s: float = 60.0, **settings: str) -> "Ended":
        ended = subprocess.run(
            command(args),
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *args: str, **settings: str) -> "Running":
        process = subprocess.Popen(
            command(args),
            env={**self.environment, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Running(process, [])

    def addresses(self) -> Any:
        """Of the stack that runs: what `pdm up` wrote for the other commands."""
        return json.loads((self.data_dir / "running.json").read_text())

    def processes(self) -> list[str]:
        """Command lines of everything that this folder's stack has running: each bears the folder's mark."""
        mark = "pdm.stack=" + json.loads((self.data_dir / "pdm-stack.json").read_text())["id"]
        lines = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if mark in line and process.status() != psutil.STATUS_ZOMBIE:
                lines.append(line)
        return lines


def command(args: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pdm", *args]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Running:
    """A command that stays. Its output is read up to the line that is waited for, and to its end by `end`."""

    process: "subprocess.Popen[str]"
    lines: list[str]

    def wait_for(self, text: str) -> None:
        """Ends with the test's own timeout when the line never comes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return
        pytest.fail(f"{text!r} never came; the output was:\n{''.join(self.lines)}")

    def end(self, number: signal.Signals) -> Ended:
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=STOP_TIMEOUT_S)
        return Ended(self.process.returncode, "".join(self.lines) + rest, "")


@pytest.fixture(scope="session")
def cli(make_data_dir: Callable[[], Path]) -> Cli:
    return Cli(make_data_dir())


@pytest.fixture(scope="session")
def up(cli: Cli) -> Iterator[Cli]:
    """A running `pdm up`, shared by every test that only uses it; at the end it must leave nothing."""
    running = cli.start("up")
    running.wait_for("pdm is up")
    yield cli
    ended = running.end(signal.SIGTERM)
    assert ended.code == 0, ended.out
    assert cli.processes() == []
