import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pdm.local.guard import Guard
from pdm.local.life import Life, folder_mark
from pdm.local.logfile import LogFile
from pdm.local.sweep import find, stop_all

SLEEPER = "import time; time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEPER}"
WAIT_S = 10.0

Spawn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def life() -> Life:
    return Life(secrets.token_hex(8), secrets.token_hex(4))


@pytest.fixture
def spawn(life: Life) -> Iterator[Spawn]:
    processes = []

    def spawn_marked(name: str, code: str = SLEEPER, mark_of: Life = life) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-S", "-X", mark_of.mark_of(name), "-c", code]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        processes.append(process)
        return process

    yield spawn_marked
    for process in processes:
        process.kill()
        process.communicate()


def test_processes_are_found_by_their_mark(life: Life, spawn: Spawn) -> None:
    process = spawn("postgres-main")
    spawn("kafka", mark_of=Life(secrets.token_hex(8), life.number))
    for mark in (life.mark, folder_mark(life.folder_id)):
        assert [(found.name, found.process.pid) for found in find(mark)] == [("postgres-main", process.pid)]


def test_another_life_on_the_same_folder_is_left_alone(life: Life, spawn: Spawn) -> None:
    spawn("kafka", mark_of=Life(life.folder_id, "0" * 8))
    assert find(life.mark) == []


def test_a_guard_is_never_found_whatever_its_life_is_called(life: Life, tmp_path: Path) -> None:
    guard = Guard(Life(life.folder_id, "b0b0b0b0"), {}, LogFile(tmp_path / "guard.log"))
    try:
        assert find(folder_mark(life.folder_id)) == []
    finally:
        guard.dismiss()


def test_roles_end_first_then_connect_then_kafka(life: Life, spawn: Spawn) -> None:
    for name in ("kafka", "portal", "connect", "postgres-ai", "inference", "valkey"):
        spawn(name)
    order: list[str] = []
    assert stop_all(life.mark, lambda name, _: order.append(name)) == []
    assert [set(order[:2]), set(order[2:4]), set(order[4:])] == [
        {"portal", "inference"},
        {"connect", "valkey"},
        {"kafka", "postgres-ai"},
    ]


def test_who_does_not_listen_is_killed(life: Life, spawn: Spawn) -> None:
    process = spawn("valkey", DEAF)
    assert process.stdout is not None
    process.stdout.readline()
    assert stop_all(life.mark) == []
    assert process.wait() == -signal.SIGKILL


def test_the_guard_stops_everything_when_its_stack_is_killed(life: Life, spawn: Spawn, tmp_path: Path) -> None:
    engine = spawn("kafka")
    stack = _start_stack(life, tmp_path)
    stack.kill()
    assert engine.wait(WAIT_S) == -signal.SIGTERM
    stack.communicate()
    _wait_until_gone(life)


def test_the_guard_survives_what_a_terminal_sends(life: Life, spawn: Spawn, tmp_path: Path) -> None:
    engine = spawn("kafka")
    stack = _start_stack(life, tmp_path)
    guard = psutil.Process(stack.pid).children()[0]
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        guard.send_signal(number)
    stack.kill()
    assert engine.wait(WAIT_S) == -signal.SIGTERM
    stack.communicate()


def test_a_dismissed_guard_goes_and_stops_nothing(life: Life, spawn: Spawn, tmp_path: Path) -> None:
    engine = spawn("kafka")
    guard = Guard(life, {}, LogFile(tmp_path / "guard.log"))
    guard.dismiss()
    assert engine.poll() is None


def _start_stack(life: Life, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that has a guard and does nothing else; returns once the guard is watching."""
    log = tmp_path / "guard.log"
    code = (
        "import pathlib, time\n"
        "from pdm.local.guard import Guard; from pdm.local.life import Life; from pdm.local.logfile import LogFile\n"
        f"guard = Guard(Life({life.folder_id!r}, {life.number!r}), {{}}, LogFile(pathlib.Path({str(log)!r})))\n"
        "time.sleep(60)"
    )
    stack = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + WAIT_S
    while not (log.exists() and "watching" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return stack


def _wait_until_gone(life: Life) -> None:
    """The guard's own end included."""
    deadline = time.monotonic() + WAIT_S
    while any(life.mark in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline
        time.sleep(0.05)
