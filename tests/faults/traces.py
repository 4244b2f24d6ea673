"""Errors in the roles' logs that nobody foresaw. An engine that is away is foreseen; a ValueError is a bug."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from pdm.config import ROLES

FORESEEN = re.compile(
    r"^(pdm\.errors\.\w+|pdm\.store\.readings\.MissingPartition|aiokafka\.errors\.\w+|kafka\.errors\.\w+"
    r"|asyncio\.exceptions\.CancelledError|TimeoutError|ConnectionError|ConnectionResetError|OSError"
    r"|faststream\.exceptions\.IncorrectState)\b"
)


@dataclass
class TraceWatch:
    """What is appended to the logs from its making on."""

    folder: Path
    _seen: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen = {log: log.stat().st_size for log in self._logs()}

    def unexpected(self) -> list[str]:
        """One finding a role and kind of error."""
        found = {}
        for log in self._logs():
            with log.open(errors="replace") as lines:
                lines.seek(self._seen.get(log, 0) if log.stat().st_size >= self._seen.get(log, 0) else 0)
                for error in filter(None, map(_last_error, lines)):
                    found[log.stem, error.partition(":")[0]] = error
        return [f"V: {role} did not foresee {error[:200]}" for (role, _), error in found.items()]

    def _logs(self) -> list[Path]:
        return [log for role in ROLES for log in self.folder.glob(f"{role}-*.log")]


def _last_error(line: str) -> str | None:
    """The error that a logged trace ends with, unless it is foreseen; a trace that is no JSON ended the process."""
    if '"exception"' in line:
        try:
            error = str(json.loads(line)["exception"]).strip().splitlines()[-1]
        except (ValueError, KeyError, IndexError):
            return None
        return None if FORESEEN.match(error) else error
    return "a trace beside the log" if line.startswith("Traceback (most recent call last)") else None
