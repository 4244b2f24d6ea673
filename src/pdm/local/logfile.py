"""The log file of one supervised process: appended to, bounded at each start, its end shown to a person."""

from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

KEPT_BYTES = 5 * 2**20
TAIL_LINES = 8
TAIL_BYTES = 16_384


class LogFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._life_begins = 0

    def open_new_life(self) -> BinaryIO:
        """To append to. A long file becomes `….1` first, over the one before."""
        if self.path.exists() and self.path.stat().st_size > KEPT_BYTES:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        handle = self.path.open("ab")
        handle.write(f"--- started {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode())
        handle.flush()
        self._life_begins = handle.tell()
        return handle

    def tail(self) -> str:
        """The last lines of the newest life."""
        try:
            with self.path.open("rb") as handle:
                size = handle.seek(0, 2)
                handle.seek(max(self._life_begins, size - TAIL_BYTES))
                text = handle.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-TAIL_LINES:])
