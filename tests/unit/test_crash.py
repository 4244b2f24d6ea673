"""A crash point kills the process on the count that was armed, and a wrong name is told in words."""

import os
import signal
import subprocess
import sys

import pytest

from pdm import crash
from pdm.errors import Misconfigured

PROGRAM = """
from pdm import crash
crash.arm({armed!r})
for n in range(4):
    print(n, flush=True)
    crash.reached("ingestor.after_db_commit")
"""


def run(armed: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(armed=armed)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.replace("\n", " ").strip()


def test_the_process_dies_the_third_time_it_comes_by() -> None:
    assert run("ingestor.after_db_commit:3") == (-signal.SIGKILL, "0 1 2")


def test_it_can_be_stopped_instead() -> None:
    command = [sys.executable, "-c", PROGRAM.format(armed="ingestor.after_db_commit:2:stop")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=10)[0].split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("armed", ["", "ingestor.mid_copy"])
def test_other_points_and_none_let_it_live(armed: str) -> None:
    assert run(armed) == (0, "0 1 2 3")


@pytest.mark.parametrize(
    "wrong", ["ingestor.nowhere", "ingestor.mid_copy:x", "ingestor.mid_copy:0", "ingestor.mid_copy:1:halt"]
)
def test_a_wrong_point_is_refused_with_those_there_are(wrong: str) -> None:
    with pytest.raises(Misconfigured, match="no crash point") as refused:
        crash.arm(wrong)
    assert "ingestor.after_db_commit" in refused.value.hint
