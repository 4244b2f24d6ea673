"""Each command on a running stack: what it says, and with which exit code."""

import json
import signal

from .conftest import Cli


def test_doctor_finds_a_running_stack_well(up: Cli) -> None:
    ended = up.run("doctor", "--json")

    assert ended.code == 0, ended.out
    found = json.loads(ended.out)
    assert found["ok"]
    assert {"kafka", "slot", "connector", "relay", "redis", "role portal"} <= {f["part"] for f in found["findings"]}


def test_a_deep_look_at_a_working_stack_finds_nothing_lost_and_nothing_doubled(up: Cli) -> None:
    ended = up.run("doctor", "--deep", "--json", timeout_s=120.0)

    assert ended.code == 0, ended.out
    found = json.loads(ended.out)
    parts = {finding["part"]: finding["state"] for finding in found["findings"]}
    assert {parts[part] for part in ("nothing lost", "nothing doubled", "alert chain", "features")} == {"ok"}
    assert found["counts"]["records"] >= found["counts"]["readings"] >= 0


def test_status_tells_engines_roles_and_lag(up: Cli) -> None:
    ended = up.run("status", "--json")

    assert ended.code == 0, ended.out
    found = json.loads(ended.out)
    assert [role["name"] for role in found["roles"]] == ["simulator", "ingestor", "inference", "portal"]
    assert set(found["lag"]) == {"ingestor", "inference", "portal"}


def test_setup_again_is_harmless(up: Cli) -> None:
    ended = up.run("setup")

    assert ended.code == 0, ended.err
    assert "as it should be" in ended.out


def test_a_simulation_ends_by_itself_and_by_ctrl_c(up: Cli) -> None:
    by_itself = up.run("simulate", "machine-101", "--duration", "2", "--rate-hz", "5")
    running = up.start("simulate", "machine-102")
    running.wait_for("machine-102 runs on normal")
    by_hand = running.end(signal.SIGINT)

    assert by_itself.code == 0
    assert by_itself.out.endswith("machine-101 stopped.\n")
    assert by_hand.code == 130
    assert "machine-102 stopped, readings sent: " in by_hand.out


def test_a_refused_simulation_is_one_line(up: Cli) -> None:
    ended = up.run("simulate", "bad id")

    assert ended.code == 1
    assert ended.err.startswith("error: the simulator says: 'bad id' is no machine id · ")
    assert len(ended.err.splitlines()) == 1


def test_a_second_up_on_the_same_folder_says_so(up: Cli) -> None:
    ended = up.run("up")

    assert ended.code == 1
    assert ended.err.startswith(f"error: a stack already runs on {up.data_dir}")
    assert len(ended.err.splitlines()) == 1
