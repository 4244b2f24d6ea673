"""Whether a partition's records follow one another, and what is missing where they do not. Pure.

A lower offset is a redelivery, unless it was appended later than everything read so far: then the topic was recreated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Literal, Protocol

GapReason = Literal["vanished", "recreated"]


class Record(Protocol):
    """What a raw record tells of its place. `timestamp`: append time, ms."""

    partition: int
    offset: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive records of one partition: offsets `first` up to, not including, `end`."""

    partition: int
    first: int
    end: int
    first_ms: int
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a partition has been read. `newest_ms` None: its append time is not known, only the offset."""

    next_offset: int
    newest_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets that will never come. Of a recreated topic nobody knows how many were lost with the old one."""

    partition: int
    from_offset: int
    to_offset: int
    reason: GapReason
    appended_ms: int  # of the first record after the gap

    @property
    def records(self) -> int:
        return max(1, self.to_offset - self.from_offset)

    @property
    def appended_at(self) -> datetime:
        return datetime.fromtimestamp(self.appended_ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a span leads. Its records from `fresh_from` on had not been read before."""

    place: Place
    fresh_from: int
    gaps: tuple[Gap, ...] = ()

    @property
    def is_recreated(self) -> bool:
        return any(gap.reason == "recreated" for gap in self.gaps)


def spans_of(records: Sequence[Record]) -> Iterator[Span]:
    """The spans of a batch, in its order. Cheap where nothing is missing inside it."""
    for partition, group in groupby(records, attrgetter("partition")):
        run = list(group)
        if run[-1].offset - run[0].offset == len(run) - 1:
            yield _span(partition, run)
        else:
            yield from _broken(partition, run)


def follow(place: Place | None, span: Span) -> Followed:
    """`place` None: nothing is known, so the span is where reading began."""
    newest_ms = span.newest_ms if place is None or place.newest_ms is None else max(place.newest_ms, span.newest_ms)
    ahead = Place(span.end, newest_ms)
    if place is None or span.first == place.next_offset:
        return Followed(ahead, span.first)
    if span.first > place.next_offset:
        return Followed(ahead, span.first, (_vanished(place.next_offset, span),))
    if place.newest_ms is not None and span.first_ms <= place.newest_ms:
        next_offset = max(place.next_offset, span.end)
        return Followed(Place(next_offset, newest_ms), min(place.next_offset, span.end))
    gaps = [Gap(span.partition, place.next_offset, 0, "recreated", span.first_ms)]
    if span.first > 0:
        gaps.append(_vanished(0, span))
    return Followed(Place(span.end, span.newest_ms), span.first, tuple(gaps))


def _vanished(from_offset: int, span: Span) -> Gap:
    return Gap(span.partition, from_offset, span.first, "vanished", span.first_ms)


def _broken(partition: int, run: Sequence[Record]) -> Iterator[Span]:
    start = 0
    for place in range(1, len(run) + 1):
        if place == len(run) or run[place].offset != run[place - 1].offset + 1:
            yield _span(partition, run[start:place])
            start = place


def _span(partition: int, run: Sequence[Record]) -> Span:
    newest_ms: int = max(map(attrgetter("timestamp"), run))
    return Span(partition, run[0].offset, run[-1].offset + 1, run[0].timestamp, newest_ms)
