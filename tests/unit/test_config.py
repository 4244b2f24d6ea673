"""Where settings come from, and that a wrong one is told by the name a person would mend."""

import fcntl
import json
from pathlib import Path

import pytest

from pdm.config import load_settings, lock_file, running_file
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
