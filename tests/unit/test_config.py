"""Where settings come from, and that a wrong one is told by the name a person would mend."""

import fcntl
import json
import traceback
from pathlib import Path

import pytest

from pdm.config import ConnectSettings, credentials_of, load_settings, lock_file, running_file
from pdm.errors import Misconfigured


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDM_DATA_DIR", str(tmp_path))
    running_file(tmp_path).write_text(json.dumps({"kafka": {"bootstrap_servers": "127.0.0.1:19092"}}))
    lock_file(tmp_path).touch()
    return tmp_path


def test_a_running_stack_is_found_by_its_lock(data_dir: Path) -> None:
    with lock_file(data_dir).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert load_settings().kafka.bootstrap_servers == "127.0.0.1:19092"


def test_a_stack_that_was_killed_is_not_believed(data_dir: Path) -> None:
    assert load_settings().kafka.bootstrap_servers == "127.0.0.1:9092"


def test_the_environment_goes_before_the_running_stack(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_KAFKA__BOOTSTRAP_SERVERS", "broker:9092")
    with lock_file(data_dir).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert load_settings().kafka.bootstrap_servers == "broker:9092"


def test_a_wrong_setting_is_named_as_it_is_set(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_KAFKA__RAW_PARTITIONS", "many")
    with pytest.raises(Misconfigured, match="PDM_KAFKA__RAW_PARTITIONS"):
        load_settings()


def test_a_password_is_in_the_address_and_in_no_text(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDM_MAIN_DB__INGESTOR_PASSWORD", "p@ss/word")
    settings = load_settings()
    assert settings.main_db.conninfo("ingestor") == "postgresql://pdm_ingestor:p%40ss%2Fword@127.0.0.1:5432/pdm_main"
    assert "p@ss" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PDM_HTTP__APIKEY", "canary"),
        ("PDM_HTTP__PORTAL_PORT", "canary"),
        ("PDM_LOG__LEVEL", "canary"),
        ("PDM_HTTP", '{"api_key": canary'),
        ("PDM_HTTP", '{"api_key": ["canary"]}'),
        ("PDM_MAIN_DB__URL", "canary"),
        ("PDM_MAIN_DB__URL", "mysql://user:canary@host/db"),
        ("PDM_MAIN_DB__URL", "postgresql://user:can/canary@host/db"),
        ("PDM_AI_DB__URL", "postgresql://user:canary@[::1/db"),
        ("PDM_REDIS__URL", "redis://:can/canary@host"),
        ("PDM_REDIS__URL", "canary"),
        ("PDM_CONNECT__URL", "ftp://user:canary@host"),
        ("PDM_PORTAL__URL", "http://user:canary@host:port"),
        ("PDM_CONNECT__URL", "http://host/\ncanary"),
    ],
)
def test_a_wrong_setting_is_never_quoted(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """It may be a secret under a misspelt name, or hold one; --debug shows the trace with its causes."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as caught:
        load_settings()
    assert name.partition("__")[0].removeprefix("PDM_").lower() in str(caught.value).lower()
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_an_address_is_shown_without_its_credentials() -> None:
    connect = ConnectSettings(url="https://user:p%40ss@connect:8083/")
    assert connect.address == "https://connect:8083"
    assert credentials_of(connect.url) == ("user", "p@ss")
    assert credentials_of("http://connect:8083") is None
