"""What the long runs share: a folder of their own, one line a minute, JSON at the end, and a last line that counts."""

import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.runner import machine_facts, say

INTERRUPTED = 130
SPEAK_EVERY_S = 60.0
SHOWN = 12  # findings


@dataclass
class Outcome:
    """What a run saw. No finding: it passed."""

    kind: str
    name: str
    seed: int
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


class Speaker:
    """At most one line a minute."""

    def __init__(self) -> None:
        self._began = self._spoke = time.monotonic()

    def say_at_times(self, line: Callable[[], str]) -> None:
        if time.monotonic() - self._spoke >= SPEAK_EVERY_S:
            self._spoke = time.monotonic()
            say(f"{(self._spoke - self._began) / 60:3.0f} min: {line()}")


def run_long(outcome: Outcome, live: Callable[[Path], None], json_path: str) -> int:
    """Exit code 0, 1 with findings, 130 when ended by hand. `live` fills the outcome; its logs stay when it failed."""
    logging.disable(logging.CRITICAL)  # aiokafka tells of every connection that a fault cuts
    folder = Path(tempfile.mkdtemp(prefix="pdm-faults-"))
    folder.chmod(0o711)
    began = time.monotonic()
    is_interrupted = False
    try:
        live(folder)
    except KeyboardInterrupt:
        is_interrupted = True
        outcome.findings.append("ended by hand before its time")
    except Exception as error:  # noqa: BLE001  # whatever it was, what was seen until then is written
        outcome.findings += [f"the run itself failed: {error!r}", traceback.format_exc()[-2000:]]
    outcome.seconds = round(time.monotonic() - began, 1)
    _clear(folder, keep_logs=bool(outcome.findings))
    if json_path:
        _write(Path(json_path), outcome)
    _tell(outcome)
    return INTERRUPTED if is_interrupted else int(bool(outcome.findings))


def _clear(folder: Path, *, keep_logs: bool) -> None:
    """A long run's engines hold gigabytes: only the logs are worth keeping."""
    for entry in folder.iterdir():
        if entry.is_dir() and not (keep_logs and entry.name == "logs"):
            shutil.rmtree(entry, ignore_errors=True)
    if keep_logs:
        sys.stderr.write(f"the logs: {folder / 'logs'}\n")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, outcome: Outcome) -> None:
    document = {"machine": machine_facts(), **asdict(outcome)}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n")


def _tell(outcome: Outcome) -> None:
    for finding in outcome.findings[:SHOWN]:
        say(f"        {finding}")
    has_failed = bool(outcome.findings)
    say(f"{int(not has_failed)} passed, {int(has_failed)} failed")
