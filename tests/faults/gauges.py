"""Threads that look once a second: at memory and descriptors of every role, and at how far a slot is behind."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from pdm.config import RoleName
from tests.faults.roles import Role
from tests.faults.steadiness import Sample

EVERY_S = 1.0
CONNECT_S = 3

_SLOT = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn),
    coalesce(wal_status, 'lost')
FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()
"""


class Gauge:
    """`with Gauge(look):` calls `look` once a second until the end of the block."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)

    def __enter__(self) -> "Gauge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * CONNECT_S)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._look()


@dataclass
class RoleLooks:
    """Memory and descriptors of the usual roles, by role."""

    roles: Mapping[RoleName, Role]
    samples: list[Sample] = field(default_factory=list)

    def look(self) -> None:
        for name, role in list(self.roles.items()):
            try:
                process = psutil.Process(role.pid)
                self.samples.append(
                    Sample(
                        role=name,
                        at_s=time.monotonic(),
                        age_s=time.time() - process.create_time(),
                        rss_bytes=process.memory_info().rss,
                        own_bytes=_own_bytes(role.pid),
                        descriptors=process.num_fds(),
                    )
                )
            except (psutil.Error, OSError, IndexError):
                continue  # between two lives


@dataclass
class SlotLooks:
    """The slot of one outbox. What cannot be seen because the server is away is not guessed."""

    conninfo: str
    slot: str
    looks: int = 0
    max_behind_bytes: int = 0  # of what is confirmed
    max_held_bytes: int = 0  # of WAL kept for it
    statuses: set[str] = field(default_factory=set)
    absent: int = 0
    last_behind_bytes: int = 0
    _conn: "psycopg.Connection[tuple[object, ...]] | None" = None

    def look(self) -> None:
        try:
            if self._conn is None:
                self._conn = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=CONNECT_S)
            row = self._conn.execute(_SLOT, [self.slot]).fetchone()
        except psycopg.Error:
            if self._conn is not None:
                self._conn.close()
            self._conn = None
            return
        self.looks += 1
        if row is None:
            self.absent += 1
            return
        behind, held, status = row
        self.last_behind_bytes = int(str(behind or 0))
        self.max_behind_bytes = max(self.max_behind_bytes, self.last_behind_bytes)
        self.max_held_bytes = max(self.max_held_bytes, int(str(held or 0)))
        self.statuses.add(str(status))

    def figures(self) -> dict[str, object]:
        return {
            "max_behind_mib": round(self.max_behind_bytes / 2**20, 1),
            "max_held_mib": round(self.max_held_bytes / 2**20, 1),
            "wal_status": sorted(self.statuses),
            "looks": self.looks,
            "slot_absent": self.absent,
        }


def _own_bytes(pid: int) -> int:
    """What no other process can share: a second process of the same libraries makes neither more nor less of it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")))
