import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pdm.local.child import Child, growing_pause_s
from pdm.local.program import Program
from pdm.local.progress import Progress

WAIT_S = 10.0
FOR_EVER = "import time; print('at work', flush=True); time.sleep(60)"


class Told:
    """Hears progress from the child's thread and lets a test wait for a state."""

    def __init__(self) -> None:
        self.all: list[Progress] = []
        self._changed = threading.Condition()

    def __call__(self, progress: Progress) -> None:
        with self._changed:
            self.all.append(progress)
            self._changed.notify_all()

    def wait_for(self, state: str, times: int = 1) -> Progress:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._of(state)) >= times, WAIT_S), self.all
            return self._of(state)[-1]

    def pid(self) -> int:
        return int(self._of("ready", "running")[-1].detail.removeprefix("process "))

    def _of(self, *states: str) -> list[Progress]:
        return [progress for progress in self.all if progress.state in states]


Start = Callable[..., tuple[Child, Told]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    stopping, started, others = threading.Event(), [], set(psutil.Process().children())

    def start_child(
        code: str, *, is_ready: Callable[[], bool] | None, start_timeout_s: float = WAIT_S
    ) -> tuple[Child, Told]:
        command = (sys.executable, "-I", "-S", "-c", code)
        told, program = Told(), Program("thing", command, tmp_path / "thing.log", {}, is_ready)
        child = Child(program, stopping, told, start_timeout_s, pause_after=lambda _: 0.0)
        started.append(child)
        child.start()
        return child, told

    yield start_child
    stopping.set()
    for process in set(psutil.Process().children()) - others:
        process.kill()
    for child in started:
        child.join(WAIT_S)


def test_pauses_grow_and_are_capped() -> None:
    assert [growing_pause_s(crashes) for crashes in (1, 2, 3, 4, 7, 1000)] == [0.5, 1, 2, 4, 30, 30]


def test_an_engine_is_ready_once_it_answers(start: Start, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    child, told = start(FOR_EVER, is_ready=answer.exists)
    told.wait_for("starting")
    assert not child.ready.is_set()
    answer.touch()
    told.wait_for("ready")


def test_a_killed_engine_is_started_again(start: Start) -> None:
    _, told = start(FOR_EVER, is_ready=lambda: True)
    told.wait_for("ready")
    psutil.Process(told.pid()).send_signal(signal.SIGKILL)
    assert "was killed by signal 9" in told.wait_for("crashed").detail
    told.wait_for("ready", times=2)


def test_an_engine_that_never_comes_up_is_given_up_with_the_end_of_its_log(start: Start) -> None:
    child, told = start("raise SystemExit('port 5432 is taken')", is_ready=lambda: False)
    told.wait_for("gave_up")
    assert (
        str(child.gave_up) == "thing ended with exit code 1, 5 times in a row; the end of its log:\nport 5432 is taken"
    )


def test_an_engine_that_does_not_answer_is_given_up(start: Start) -> None:
    child, told = start(FOR_EVER, is_ready=lambda: False, start_timeout_s=0.5)
    told.wait_for("gave_up")
    assert "did not answer within 0.5 s" in str(child.gave_up)


def test_a_crashing_role_is_never_given_up(start: Start) -> None:
    child, told = start("raise SystemExit(1)", is_ready=None)
    told.wait_for("crashed", times=7)
    assert child.gave_up is None


def test_a_misconfigured_role_is_not_started_again(start: Start) -> None:
    child, told = start("print('set PDM_HTTP__API_KEY'); raise SystemExit(2)", is_ready=None)
    told.wait_for("gave_up")
    assert "set PDM_HTTP__API_KEY" in str(child.gave_up)
    assert [progress.state for progress in told.all] == ["starting", "running", "gave_up"]


def test_what_a_dead_role_had_started_is_killed(start: Start) -> None:
    training = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    _, told = start(f"{training}; print(p.pid, flush=True); p.wait()", is_ready=None)
    told.wait_for("running")
    role = psutil.Process(told.pid())
    grandchild = _wait_for_child(role)
    role.kill()
    told.wait_for("crashed")
    grandchild.wait(WAIT_S)


def test_a_program_that_is_not_there_is_given_up(tmp_path: Path) -> None:
    told = Told()
    program = Program("thing", ("/nowhere/thing",), tmp_path / "thing.log", {}, lambda: True)
    child = Child(program, threading.Event(), told, 1.0, pause_after=lambda _: 0.0)
    child.start()
    assert "could not be run" in told.wait_for("gave_up").detail
    child.join(WAIT_S)


def _wait_for_child(process: psutil.Process) -> psutil.Process:
    while not process.children():
        assert process.is_running()
    return process.children()[0]
