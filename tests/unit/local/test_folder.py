import json
import os
import stat
from pathlib import Path

import pytest

from pdm.config import is_locked, lock_file, running_file
from pdm.errors import Misconfigured
from pdm.local.folder import AlreadyRunning, DataFolder, passable_by_others, write_private
from pdm.local.passwords import NAMES, load_or_make


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "pdm")


def test_the_lock_is_held_from_claim_to_release(folder: DataFolder) -> None:
    folder.claim()
    assert is_locked(lock_file(folder.path))
    folder.release()
    assert not is_locked(lock_file(folder.path))


def test_a_second_stack_hears_who_holds_the_folder_and_where_its_portal_is(folder: DataFolder) -> None:
    folder.claim()
    folder.write_json("running.json", {"http": {"portal_port": 18000}})
    with pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}, its portal is at http://127.0.0.1:18000"):
        DataFolder(folder.path).claim()
    assert running_file(folder.path).exists()
    folder.release()


def test_addresses_of_an_earlier_life_are_forgotten(folder: DataFolder) -> None:
    folder.claim()
    folder.write_json("running.json", {})
    folder.release()
    running_file(folder.path).write_text("{}")
    folder.claim()
    assert not running_file(folder.path).exists()
    folder.release()


def test_the_id_stays_the_same(folder: DataFolder) -> None:
    folder.claim()
    first = folder.id
    folder.release()
    folder.claim()
    assert folder.id == first
    folder.release()


def test_a_folder_of_someone_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Misconfigured, match=r"not of pdm \(thesis.txt\)"):
        DataFolder(tmp_path).claim()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_models_of_roles_that_ran_alone_are_no_obstacle(folder: DataFolder) -> None:
    (folder.path / "models").mkdir(parents=True)
    folder.claim()
    folder.release()


def test_wipe_deletes_what_is_ours_and_nothing_else(folder: DataFolder) -> None:
    folder.claim()
    for name in ("kafka", "postgres-main", "postgres-ai.new", "models"):
        (folder.path / name).mkdir()
    folder.write_json("passwords.json", {"valkey": "secret"})
    (folder.path / "notes.txt").write_text("kept")
    folder.wipe()
    assert {entry.name for entry in folder.path.iterdir()} == {"lock", "logs", "notes.txt", "pdm-stack.json"}
    folder.release()


def test_a_damaged_file_is_named(folder: DataFolder) -> None:
    folder.claim()
    (folder.path / "ports.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"ports\.json is damaged"):
        folder.read_json("ports.json")
    folder.release()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be used"):
        DataFolder(tmp_path / "file").claim()


def test_private_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    write_private(tmp_path / "secret", "text")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_passwords_are_made_once_and_kept(folder: DataFolder) -> None:
    folder.claim()
    made = load_or_make(folder)
    assert set(made) == set(NAMES)
    assert len(set(made.values())) == len(NAMES)
    assert load_or_make(folder) == made == json.loads((folder.path / "passwords.json").read_text())
    folder.release()


def test_the_folder_that_others_cannot_pass_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    first = passable_by_others(inner)
    assert first is not None
    assert inner.is_relative_to(first)
