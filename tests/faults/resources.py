"""Resources that run out: disk, file descriptors, processor time. What needs root says so when there is none."""

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from pdm.config import RoleName
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run
from tests.faults.roles import CONSUMERS

SMALL_MIB = 48
NEEDS_ROOT = None if os.geteuid() == 0 else "mounts a small file system, which only root may"


def faults() -> Iterator[Fault]:
    yield Fault("disk of the main database full", ("25",), _database_full, expected_s=50, needs=NEEDS_ROOT)
    yield Fault("disk of the logs full", ("28",), _logs_full, expected_s=40, needs=NEEDS_ROOT)
    for role in CONSUMERS:
        yield Fault(f"{role} with 64 file descriptors", ("64",), _few_descriptors(role), expected_s=40)
        yield Fault(f"{role} with a fifth of its processor time", ("64",), _starved(role), expected_s=45)


@contextmanager
def _small_disk(folder: Path, owner: Path | None = None) -> Iterator[Path]:
    folder.mkdir(mode=0o755, exist_ok=True)
    options = f"size={SMALL_MIB}m,mode=0711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "pdm-faults", str(folder)], check=True)
    try:
        if owner is not None:
            os.chown(folder, owner.stat().st_uid, owner.stat().st_gid)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Not a byte is free inside the block."""
    ballast = folder / "ballast"
    with ballast.open("wb") as handle:
        try:
            while True:
                handle.write(b"\0" * 2**16)
                handle.flush()
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


def _database_full(rig: Rig, run: Run) -> None:
    """Today's readings lie on a disk that fills up and is cleared again."""
    stack = rig.engines.stack
    with _small_disk(stack.folder.path / "postgres-main-small", stack.folder.path / "postgres-main") as disk:
        _move_today(rig, f"CREATE TABLESPACE small LOCATION '{disk}'", "small")
        try:
            time.sleep(2)
            with run.outage(), _full(disk):
                time.sleep(15)
            time.sleep(2)
        finally:
            _move_today(rig, "", "pg_default")
            with psycopg.connect(rig.settings.main_db.conninfo("owner"), autocommit=True) as conn:
                conn.execute("DROP TABLESPACE small")


def _move_today(rig: Rig, first: str, tablespace: str) -> None:
    with psycopg.connect(rig.settings.main_db.conninfo("owner"), autocommit=True) as conn:
        if first:
            conn.execute(first.encode())
            conn.execute(b"GRANT CREATE ON TABLESPACE small TO pdm_ingestor")
        name = f"sensor_log_{datetime.now(UTC):%Y%m%d}"
        conn.execute(f"ALTER TABLE {name} SET TABLESPACE {tablespace}".encode())
        conn.execute(f"ALTER INDEX {name}_pkey SET TABLESPACE {tablespace}".encode())


def _logs_full(rig: Rig, run: Run) -> None:
    """A log line that cannot be written costs the line, not the reading."""
    with _small_disk(rig.engines.stack.folder.path / "logs" / "small") as disk:
        replica = rig.add_replica("ingestor", log=disk / "ingestor.log")
        other = rig.add_replica("inference", log=disk / "inference.log")
        for role in (replica, other):
            role.wait_ready()
        with run.outage(), _full(disk):
            time.sleep(12)
            for role in (replica, other):
                run.require(role.is_ready(), f"{role.name} is not ready while its log's disk is full")
        rig.heal()


def _few_descriptors(role: RoleName) -> Act:
    """Connections of strangers take every descriptor that is left; when they go, the role works on."""

    def act(rig: Rig, run: Run) -> None:
        pid, port = rig.roles[role].pid, rig.roles[role].port
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        strangers = []
        with run.outage():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, limits[1]))
            try:
                for _ in range(100):
                    stranger = socket.create_connection(("127.0.0.1", port), timeout=2)
                    stranger.sendall(b"GET /health/live HTTP/1.1\r\n")
                    strangers.append(stranger)
                time.sleep(10)
            finally:
                for stranger in strangers:
                    stranger.close()
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        run.figures["descriptors"] = psutil.Process(pid).num_fds() if psutil.pid_exists(pid) else "restarted"

    return act


def _starved(role: RoleName) -> Act:
    """Stopped for four fifths of each half second, as a hard quota does."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            end = time.monotonic() + 15
            while time.monotonic() < end:
                rig.roles[role].pause()
                time.sleep(0.4)
                rig.roles[role].go_on()
                time.sleep(0.1)

    return act
