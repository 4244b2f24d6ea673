"""Which minutes are marked again: never twice while they run, always once they are closed."""

from datetime import UTC, datetime, timedelta

from pdm.ingestor.due_minutes import DueMinutes

NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()
MINUTE = int(NOON_S // 60)


def test_a_running_minute_is_marked_once_for_each_machine() -> None:
    due = DueMinutes()
    keys = [("b", NOON + timedelta(seconds=1)), ("a", NOON), ("a", NOON + timedelta(seconds=2))]

    marks = due.unmarked(keys, NOON_S + 3)
    due.remember(marks, NOON_S + 3)

    assert marks == [("a", MINUTE), ("b", MINUTE)]
    assert due.unmarked([("a", NOON + timedelta(seconds=4)), ("c", NOON)], NOON_S + 5) == [("c", MINUTE)]


def test_a_mark_that_was_not_committed_is_made_again() -> None:
    due = DueMinutes()

    assert due.unmarked([("a", NOON)], NOON_S) == due.unmarked([("a", NOON)], NOON_S) == [("a", MINUTE)]


def test_a_closed_minute_is_always_marked_again() -> None:
    due = DueMinutes()
    due.remember([("a", MINUTE)], NOON_S)

    assert due.unmarked([("a", NOON)], NOON_S + 59.9) == []
    assert due.unmarked([("a", NOON)], NOON_S + 60.0) == [("a", MINUTE)]


def test_a_clock_set_back_costs_marks_and_loses_none() -> None:
    due = DueMinutes()
    due.remember([("a", MINUTE)], NOON_S)

    assert due.unmarked([("a", NOON)], NOON_S - 300) == [("a", MINUTE)]


def test_only_running_minutes_are_remembered() -> None:
    due = DueMinutes()
    far = [("a", MINUTE + ahead) for ahead in range(2, 1000)]

    due.remember([*far, ("a", MINUTE + 1)], NOON_S)

    assert due.unmarked([("a", NOON + timedelta(minutes=1)), ("a", NOON + timedelta(minutes=2))], NOON_S) == [
        ("a", MINUTE + 2)
    ]
