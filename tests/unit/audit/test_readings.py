"""What one partition of the log demands of sensor_log and dead_letter, and what is no loss."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pdm.audit.findings import Sent, Tally
from pdm.audit.readings import EVER_US, Part, Slice, explain, from_us, tell_unexplained, to_us
from tests.records import NOON, reading_json

NOON_MS = int(NOON.timestamp() * 1000)
VALUES = (299.1, 309.5, 1500.0, 42.8, 5.0, None, None)
LOST = "a reading is not in sensor_log"


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def row(second: float, *values: object, machine_id: str = "m") -> tuple[object, ...]:
    return (machine_id, to_us(at(second)), *(values or VALUES))


def piece(
    records: int,
    *,
    cut: int | None = None,
    letters: Mapping[tuple[int, int], str] | None = None,
    kept_from_us: int = EVER_US,
    gaps: Sequence[tuple[int, int]] = (),
    is_whole: bool = False,
    ledger: Sequence[Sent] = (),
    prefix: str = "",
    bad: Sequence[int] = (),
) -> Slice:
    """A slice that has taken `records` of machine m, one a second from noon on; those at the offsets `bad` are bad."""
    part = Part(0, 0, records if cut is None else cut, records, gaps)
    found = Slice(part, prefix, letters or {}, kept_from_us, is_whole, Tally())
    found.await_ledger(ledger)
    for offset in range(records):
        value = b"{" if offset in bad else reading_json("m", at(offset))
        found.take(offset, NOON_MS + 1000 * offset, b"m", value)
    return found


def told(found: Slice) -> list[tuple[str, str, datetime | None]]:
    found.settle()
    tell_unexplained(found.unexplained, found.tally)
    return [(finding.check, finding.what.partition(": ")[0], finding.at) for finding in found.tally.findings()]


def test_what_is_stored_with_the_same_values_is_well() -> None:
    found = piece(3)
    for second in range(3):
        found.take_row(row(second))
    assert told(found) == []


def test_a_missing_row_and_other_values_are_told_with_their_time() -> None:
    found = piece(3)
    found.take_row(row(0))
    found.take_row(row(1, *VALUES[:-1], {"hum_db": 1.5}))
    assert told(found) == [("L", "sensor_log holds other values than the log", at(1)), ("L", LOST, at(2))]


def test_lag_is_no_loss() -> None:
    found = piece(3, cut=1)
    found.take_row(row(0))
    found.take_row(row(2))  # stored, its offset not yet committed
    assert told(found) == []


def test_a_bad_record_must_be_in_dead_letter_at_its_very_place() -> None:
    assert told(piece(2, bad=[1], letters={(1, NOON_MS + 1000): "invalid_json"}, cut=0)) == []
    found = piece(2, bad=[1], letters={(1, NOON_MS - 5): "invalid_json"})  # of a topic that was deleted since
    found.take_row(row(0))
    assert told(found) == [("L", "a bad record is not in dead_letter", at(1))]


def test_the_first_value_wins_and_the_other_is_set_aside() -> None:
    for letters, wanted in (
        ({(1, NOON_MS): "conflicting_duplicate"}, []),
        ({}, [("L", "another value of a stored reading is not in dead_letter", at(0))]),
    ):
        found = piece(1, cut=2, letters=letters)
        found.take(1, NOON_MS, b"m", reading_json("m", at(0), rpm=1))
        found.take_row(row(0))
        assert told(found) == wanted


def test_a_dead_letter_without_a_record_is_one_too_many() -> None:
    found = piece(1, letters={(0, NOON_MS + 7): "invalid_json"})
    found.take_row(row(0))
    assert told(found) == [("D", "dead_letter names a record that is not there", at(0.007))]


def test_beyond_retention_nothing_is_due() -> None:
    assert told(piece(2, kept_from_us=to_us(at(10)))) == []


def test_a_row_that_no_record_explains_is_one_too_many_unless_it_is_older_than_the_log() -> None:
    found = piece(2)
    for second in (-1, 0, 0.5, 1):
        found.take_row(row(second))
    assert told(found) == [("D", "sensor_log holds a reading that the log does not", at(0.5))]


def test_with_all_that_was_sent_at_hand_an_older_row_is_one_too_many_as_well() -> None:
    ledger = [Sent("m", at(second), 0, second) for second in range(2)]
    found = piece(2, is_whole=True, ledger=ledger)
    found.take_ledger(ledger)
    for second in (-1, 0, 1):
        found.take_row(row(second))
    assert told(found) == [("D", "sensor_log holds a reading that the log does not", at(-1))]


def test_a_machine_whose_clock_is_ahead_has_older_rows_in_its_future() -> None:
    found = piece(1)
    found.take(1, NOON_MS, b"n", reading_json("n", at(3600)))
    found.take_row(row(0))
    found.take_row(row(3600, machine_id="n"))
    found.take_row(row(1800, machine_id="n"))
    assert told(found) == []


def test_a_record_read_later_explains_a_row() -> None:
    unexplained = {"m": {to_us(at(1)), to_us(at(2))}}
    explain(unexplained, b"m", reading_json("m", at(1)))
    explain(unexplained, b"m", b"{")
    assert unexplained == {"m": {to_us(at(2))}}


def test_an_acknowledged_send_is_stored_set_aside_waiting_or_lost() -> None:
    ledger = [Sent("m", at(second), 0, second) for second in range(6)]
    # 0 is stored; 1 is set aside; 2 stands on the topic and waits; 3 vanished before it was read and nobody noted it,
    # 4 was noted; 5 was stored before the topic lost it.
    found = piece(
        3, cut=2, ledger=ledger, bad=[1], letters={(1, NOON_MS + 1000): "invalid_json"}, gaps=[(4, 5)], is_whole=True
    )
    assert found.take_ledger(ledger) == 1
    found.take_row(row(0))
    found.take_row(row(5))
    assert told(found) == [("L", LOST, at(3))]


def test_what_was_lost_with_a_topic_that_was_made_anew_is_noted_and_no_finding() -> None:
    ledger = [Sent("m", at(100 + offset), 0, offset) for offset in (6, 7)]  # of the old topic, read up to 7
    found = piece(3, ledger=ledger, gaps=[(7, 0)])
    found.take_ledger(ledger)
    for second in range(3):
        found.take_row(row(second))
    assert told(found) == [("L", LOST, at(106))]


def test_other_machines_are_left_alone() -> None:
    found = piece(2, prefix="x", bad=[1])
    assert (told(found), found.records) == ([], 0)


def test_hours_that_touch_are_read_in_one_go() -> None:
    found = piece(1, cut=2)
    for second in (3600, 7199, 20_000):
        found.take(1, NOON_MS, b"m", reading_json("m", at(second)))
    assert [(from_us(first).hour, from_us(last).hour) for first, last in found.ranges()] == [(12, 13), (17, 17)]


def test_a_hundred_thousand_losses_are_a_handful_of_lines() -> None:
    tally = Tally()
    for second in range(100_000):
        tally.add("L", LOST, f"m-{second % 7}", at(second))
    told = tally.findings()
    assert len(told) == 6
    assert told[0].machine_id == "m-0"
    assert "99,995 more, on 7 machines" in told[-1].what
