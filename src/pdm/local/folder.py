"""The data folder of a local stack: whose it is, who holds it, what lies where. Starts nothing."""

import fcntl
import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pdm.config import lock_file, running_file
from pdm.errors import Misconfigured, PdmError

STAMP = "pdm-stack.json"
OURS = (
    STAMP,
    "lock",
    "running.json",
    "passwords.json",
    "ports.json",
    "versions.json",
    "connect",
    "kafka",
    "logs",
    "models",
    "postgres-ai",
    "postgres-engine",
    "postgres-main",
    "valkey",
)
PRIVATE = 0o600
PASSABLE = 0o711  # root's PostgreSQL runs as another user, who must pass through; nobody needs to list


class AlreadyRunning(PdmError):
    """Another process holds the folder. `pid` is that process."""

    def __init__(self, path: Path, pid: int | None, portal: str) -> None:
        where = f", its portal is at {portal}" if portal else ""
        super().__init__(
            f"a stack already runs on {path} (process {pid or 'unknown'}{where})",
            hint="Use it, stop it with Ctrl-C, or set PDM_DATA_DIR to another folder.",
        )
        self.pid = pid


class DataFolder:
    """Exclusive from `claim` to `release`: the lock goes with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def id(self) -> str:
        """Written once into the folder; part of the command line of everything that was ever started on it."""
        return str(self.read_json(STAMP)["id"])

    def claim(self) -> None:
        """Raises AlreadyRunning, or Misconfigured when the folder is not ours or cannot be written."""
        try:
            self._make()
            self._lock = _locked(lock_file(self.path))
        except BlockingIOError as error:
            raise AlreadyRunning(self.path, self._holder(), self._portal()) from error
        except OSError as error:
            raise Misconfigured(
                f"the data folder {self.path} cannot be used: {error.strerror}", hint="Set PDM_DATA_DIR to another one."
            ) from error
        running_file(self.path).unlink(missing_ok=True)  # of an earlier life: true only while the lock is held

    def release(self) -> None:
        running_file(self.path).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def wipe(self) -> None:
        """Delete what stacks made here, and nothing else. Only for the holder of the lock."""
        kept = (STAMP, "lock")
        for entry in self._entries():
            if not _is_ours(entry.name) or entry.name in kept:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        self.logs.mkdir(mode=0o700)

    def read_json(self, name: str) -> dict[str, Any]:
        """The file's object; empty when there is no such file. Raises Misconfigured when it is damaged."""
        try:
            value = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise Misconfigured(
                f"{self.path / name} is damaged: {error}", hint="Start afresh with `pdm up --reset`."
            ) from error
        return dict(value)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        write_private(self.path / name, json.dumps(value, indent=2) + "\n")

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.path / STAMP).exists():
            foreign = sorted(entry.name for entry in self._entries() if not _is_ours(entry.name))
            if foreign:
                raise Misconfigured(
                    f"{self.path} holds files that are not of pdm ({', '.join(foreign[:3])})",
                    hint="Set PDM_DATA_DIR to a folder of its own.",
                )
            if os.geteuid() == 0:
                self.path.chmod(PASSABLE)
            self.write_json(STAMP, {"id": secrets.token_hex(8)})
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def _entries(self) -> list[Path]:
        return list(self.path.iterdir())

    def _holder(self) -> int | None:
        text = lock_file(self.path).read_text().strip()
        return int(text) if text.isdecimal() else None

    def _portal(self) -> str:
        try:
            port = self.read_json("running.json")["http"]["portal_port"]
        except (KeyError, PdmError):
            return ""
        return f"http://127.0.0.1:{port}"


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` in one step: a reader sees the old text or the new one. Mode 0600; `owner` is uid and gid."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    if owner is not None:
        os.chown(draft, *owner)
    draft.replace(path)


def passable_by_others(path: Path) -> Path | None:
    """The first folder on the way to `path`, itself included, that other users cannot pass; none: they can."""
    for folder in (*reversed(path.parents), path):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def _is_ours(name: str) -> bool:
    return name in OURS or name.removesuffix(".new") in OURS or (name.startswith(".") and name.endswith(".new"))


def _locked(path: Path) -> IO[str]:
    """Raises BlockingIOError when another process has it."""
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle
