from pathlib import Path

from pdm.local.logfile import KEPT_BYTES, LogFile


def _write(log: LogFile, text: str) -> None:
    with log.open_new_life() as handle:
        handle.write(text.encode())


def test_the_tail_is_of_the_newest_life_only(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "kafka.log")
    _write(log, "old trouble\n")
    _write(log, "".join(f"line {n}\n" for n in range(20)))
    assert log.tail().splitlines() == [f"line {n}" for n in range(12, 20)]
    assert "old trouble" in log.path.read_text()


def test_a_long_file_is_set_aside_at_the_next_start(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "kafka.log")
    _write(log, "x" * (KEPT_BYTES + 1))
    _write(log, "new\n")
    assert log.path.stat().st_size < 100
    assert (tmp_path / "kafka.log.1").stat().st_size > KEPT_BYTES


def test_no_log_no_tail(tmp_path: Path) -> None:
    assert LogFile(tmp_path / "none.log").tail() == ""


def test_bytes_that_are_no_text_are_shown_all_the_same(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "kafka.log")
    with log.open_new_life() as handle:
        handle.write(b"\xff\xfe bad\n")
    assert log.tail().endswith(" bad")
