"""However a stack or a role ends, nothing of it is left running."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from .conftest import Cli


def test_kill_of_up_leaves_no_process_and_the_next_one_starts(make_data_dir: Callable[[], Path]) -> None:
    cli = Cli(make_data_dir())
    killed = cli.start("up")
    killed.wait_for("pdm is up")

    killed.end(signal.SIGKILL)

    deadline = time.monotonic() + 60
    while left := cli.processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
    again = cli.start("up")
    again.wait_for("pdm is up")
    assert again.end(signal.SIGINT).code == 0
    assert cli.processes() == []


def test_a_stop_while_starting_leaves_nothing(make_data_dir: Callable[[], Path]) -> None:
    cli = Cli(make_data_dir())
    running = cli.start("up")
    running.wait_for("postgres-main")

    ended = running.end(signal.SIGTERM)

    assert ended.code == 0
    assert "stopped while starting" in ended.out
    assert cli.processes() == []


def test_a_role_ends_cleanly_by_sigterm_without_any_engine(make_data_dir: Callable[[], Path]) -> None:
    cli = Cli(make_data_dir())
    with socket.create_server(("127.0.0.1", 0)) as server:
        free_port = str(server.getsockname()[1])  # another stack may have the usual one
    nowhere = {"PDM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "PDM_MAIN_DB__URL": "postgresql://127.0.0.1:1/pdm_main"}
    running = cli.start("run", "ingestor", PDM_HTTP__INGESTOR_PORT=free_port, **nowhere)
    running.wait_for("broker.unreachable")

    assert running.end(signal.SIGTERM).code == 0
