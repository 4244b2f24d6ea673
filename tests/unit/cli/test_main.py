"""What a person sees when something is wrong: one line, and an exit code that says whose turn it is."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pdm
from pdm.cli import main

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the command line in this process, where nothing listens on the engines' addresses."""
    monkeypatch.setenv("PDM_DATA_DIR", str(tmp_path / "absent"))
    monkeypatch.setenv("PDM_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("PDM_CONNECT__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PDM_MAIN_DB__URL", "postgresql://127.0.0.1:1/pdm_main")
    monkeypatch.setenv("PDM_AI_DB__URL", "postgresql://127.0.0.1:1/pdm_ai")
    monkeypatch.setenv("PDM_REDIS__URL", "redis://127.0.0.1:1/0")
    for role in ("SIMULATOR", "INGESTOR", "INFERENCE", "PORTAL"):
        monkeypatch.setenv(f"PDM_HTTP__{role}_PORT", "1")

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pdm", *args])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_version_and_help_work_without_anything(call: Call) -> None:
    assert call("--version") == (0, f"pdm {pdm.__version__}\n", "")
    code, out, _ = call("--help")
    assert code == 0
    for command in ("up", "demo", "simulate", "setup", "doctor", "status", "run"):
        assert f" {command} " in out


def test_wrong_settings_are_one_line_and_exit_2(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_KAFKA__RAW_PARTITIONS", "many")

    code, _, err = call("setup")

    assert code == 2
    assert err.startswith("error: wrong settings: PDM_KAFKA__RAW_PARTITIONS: ")
    assert len(err.splitlines()) == 1


def test_absent_engines_are_one_line_and_exit_1(call: Call) -> None:
    code, _, err = call("setup", "--timeout", "0")

    assert code == 1
    assert err.startswith("error: ")
    assert " · " in err
    assert len(err.splitlines()) == 1


def test_an_absent_role_is_named_with_what_to_do(call: Call) -> None:
    code, _, err = call("simulate", "machine-001")

    assert code == 1
    assert err == "error: no simulator at http://127.0.0.1:1 · Run `pdm up`, or `pdm run simulator`.\n"


def test_a_role_beyond_loopback_without_a_key_refuses_to_start(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_HTTP__HOST", "0.0.0.0")

    code, _, err = call("run", "simulator")

    assert code == 2
    assert "error: simulator would listen on 0.0.0.0 without an API key" in err
    assert "Traceback" not in err


def test_debug_shows_the_trace_wherever_it_stands(call: Call) -> None:
    code, _, err = call("simulate", "machine-001", "--debug")

    assert code == 1
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: no simulator")


def test_an_unknown_command_or_role_is_a_usage_error(call: Call) -> None:
    assert call("bogus")[0] == 2
    assert call("run", "bogus")[0] == 2


def test_doctor_and_status_tell_what_is_away_instead_of_failing(call: Call) -> None:
    code, out, err = call("doctor", "--probe-timeout", "0.1")
    assert (code, err) == (1, "")
    assert "Kafka does not answer at 127.0.0.1:1" in out
    assert "→ Run `pdm up`, or `pdm run portal`." in out

    code, out, err = call("status")
    assert (code, err) == (1, "")
    assert "no ingestor" in out


def test_a_deep_look_tells_what_is_away_too_and_takes_only_a_span_of_time(call: Call) -> None:
    code, out, _ = call("doctor", "--probe-timeout", "0.1", "--deep", "--since", "1h")
    assert code == 1
    assert "deep look" in out

    for wrong in (("--deep", "--since", "yesterday"), ("--since", "1h"), ("--prefix", "machine")):
        code, _, err = call("doctor", *wrong)
        assert (code, "Traceback" in err) == (2, False)
