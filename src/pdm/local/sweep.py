"""Finding the processes of a stack by their mark, and stopping them in the right order.

The one way to stop: the stack's own end, the guard after a kill, and the next start after both were killed.
"""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

# Roles first: they still write. Connect before Kafka, or it waits 20 s for it; the relayed database after Connect.
STAGES = (("connect", "valkey", "postgres-main"), ("kafka", "postgres-ai"))
STOP_SIGNAL = {"postgres-main": signal.SIGINT, "postgres-ai": signal.SIGINT}  # fast: clients are disconnected
GRACE_S = {"connect": 10.0, "kafka": 15.0, "valkey": 2.0, "postgres-main": 15.0, "postgres-ai": 15.0}
ROLE_GRACE_S = 20.0
KILL_S = 3.0
POLL_S = 0.03
PASSES = 3


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    process: psutil.Process


def find(mark: str) -> list[Found]:
    """Every process of this machine whose command line bears the mark; never the caller."""
    pattern = re.compile(re.escape(mark) + r"(?:[0-9a-f]+\.)?([a-z-]+)(?=\s|$)")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            match = pattern.search(" ".join(process.cmdline()))
            if match and process.pid != os.getpid() and match[1] != "guard":
                found.append(Found(match[1], process))
    return found


def stop_all(mark: str, on_stop: Callable[[str, float], None] = lambda _name, _seconds: None) -> list[str]:
    """Stop stage by stage until none is left. Bounded by the graces; the names of those that even SIGKILL left."""
    for _ in range(PASSES):  # again for one that was started meanwhile
        found = find(mark)
        if not found:
            return []
        for stage in _stages(found):
            _stop_together(stage, on_stop)
    return [f"{each.name} ({each.process.pid})" for each in find(mark)]


def _stages(found: Iterable[Found]) -> list[list[Found]]:
    ordered: list[list[Found]] = [[] for _ in range(len(STAGES) + 1)]
    for each in found:
        place = next((n for n, stage in enumerate(STAGES, 1) if each.name in stage), 0)
        ordered[place].append(each)
    return ordered


def _stop_together(stage: list[Found], on_stop: Callable[[str, float], None]) -> None:
    started = time.monotonic()
    for each in stage:
        _send(each, STOP_SIGNAL.get(each.name, signal.SIGTERM))
    waiting = list(stage)
    while waiting:
        age_s = time.monotonic() - started
        for each in list(waiting):
            if _is_gone(each.process):
                waiting.remove(each)
                end_group(each.process.pid)
                on_stop(each.name, age_s)
            elif (late_s := age_s - GRACE_S.get(each.name, ROLE_GRACE_S)) > 2 * KILL_S:
                waiting.remove(each)
            elif late_s > 0:
                _insist(each, late_s)
        time.sleep(POLL_S)


def _insist(each: Found, late_s: float) -> None:
    """PostgreSQL gets its own word for "at once" first: SIGKILL would leave its workers to find out."""
    is_postgres = each.name in STOP_SIGNAL
    _send(each, signal.SIGQUIT if is_postgres and late_s < KILL_S else signal.SIGKILL)


def _send(each: Found, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.Error):
        each.process.send_signal(number)


def _is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_group(leader_pid: int) -> None:
    """Kill what an ended process had started itself, a training run for one, and did not take along."""
    with contextlib.suppress(OSError):
        os.killpg(leader_pid, signal.SIGKILL)
