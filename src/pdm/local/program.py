"""What to run for one engine or role, and where it lives. Runs nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pdm.local.folder import DataFolder
from pdm.local.life import Life

MISCONFIGURED_EXIT = 2  # how a role says that no restart will help


@dataclass(frozen=True, slots=True)
class Account:
    """Another user to run as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Program:
    """`command` bears the mark of its life. `is_ready` must return within a second or two and never raise.

    Without `is_ready` it is a role: it counts as running at once, and is started again as long as that may help.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    is_ready: Callable[[], bool] | None = None
    folder: Path | None = None
    account: Account | None = None

    @property
    def is_engine(self) -> bool:
        return self.is_ready is not None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack lives: what each engine needs to prepare itself."""

    folder: DataFolder
    life: Life
    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    environment: Mapping[str, str]

    def log(self, name: str) -> Path:
        return self.folder.logs / f"{name}.log"
