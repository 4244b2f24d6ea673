"""Which offsets count as missing, as repeated and as a new log."""

from collections.abc import Sequence

from pdm.continuity import Gap, Place, Span, follow, spans_of
from tests.records import NOON, raw_record

NOON_MS = int(NOON.timestamp() * 1000)


def span(first: int, end: int, *, ms: int = 0, newest: int | None = None) -> Span:
    return Span(0, first, end, NOON_MS + ms, NOON_MS + (ms if newest is None else newest))


def gaps(place: Place | None, found: Span) -> Sequence[Gap]:
    return follow(place, found).gaps


def test_records_that_follow_one_another_are_no_gap() -> None:
    followed = follow(Place(10, NOON_MS), span(10, 20, ms=5))

    assert (followed.place, followed.fresh_from, followed.gaps) == (Place(20, NOON_MS + 5), 10, ())


def test_where_nothing_is_known_reading_begins() -> None:
    assert follow(None, span(7, 9)).place == Place(9, NOON_MS)


def test_offsets_between_the_place_and_the_span_have_vanished() -> None:
    assert gaps(Place(10, NOON_MS), span(15, 20, ms=1)) == (Gap(0, 10, 15, "vanished", NOON_MS + 1),)
    assert gaps(Place(10), span(15, 20))[0].records == 5


def test_a_redelivery_is_no_gap_and_only_its_new_records_are_fresh() -> None:
    place = Place(10, NOON_MS)

    whole, partly = follow(place, span(0, 8, ms=-9, newest=-1)), follow(place, span(5, 15, ms=-5, newest=5))

    assert (whole.place, whole.fresh_from, whole.gaps) == (place, 8, ())
    assert (partly.place, partly.fresh_from, partly.gaps) == (Place(15, NOON_MS + 5), 10, ())


def test_a_lower_offset_appended_later_is_a_recreated_topic() -> None:
    followed = follow(Place(10, NOON_MS), span(0, 3, ms=1))

    assert followed.gaps == (Gap(0, 10, 0, "recreated", NOON_MS + 1),)
    assert (followed.place, followed.fresh_from) == (Place(3, NOON_MS + 1), 0)
    assert followed.gaps[0].records == 1


def test_a_lower_offset_is_a_recreated_topic_too_where_only_the_committed_offset_is_known() -> None:
    """Kafka never delivers below it but where the log itself begins anew."""
    assert follow(Place(10), span(0, 3)).is_recreated


def test_what_a_recreated_topic_has_lost_already_is_a_gap_of_its_own() -> None:
    found = gaps(Place(10, NOON_MS), span(4, 6, ms=1))

    assert [(gap.reason, gap.from_offset, gap.to_offset) for gap in found] == [("recreated", 10, 0), ("vanished", 0, 4)]


def test_a_batch_is_cut_where_partitions_or_offsets_break() -> None:
    batch = [raw_record(b"", offset, partition=partition) for partition, offset in [(0, 4), (0, 5), (0, 8), (1, 4)]]

    assert [(found.partition, found.first, found.end) for found in spans_of(batch)] == [(0, 4, 6), (0, 8, 9), (1, 4, 5)]
