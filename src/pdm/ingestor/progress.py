"""What a batch adds to `ingest_progress`: every offset that was not read before is counted once. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pdm.continuity import Gap, Place, Record, Span, follow
from pdm.ingestor.decode import Decoded
from pdm.store.dead_letters import DeadLetter
from pdm.store.progress import Progress
from pdm.store.readings import Stored


@dataclass(slots=True)
class Advance:
    """Where a batch leads: the rows to write, and the gaps found on the way."""

    moved: dict[int, Progress] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


def duplicates_of(decoded: Decoded, stored: Stored) -> list[Record]:
    """The records whose reading had been stored before with the same values."""
    if len(stored.keys) == len(decoded.readings):
        return []
    new, conflicting = set(stored.keys), set(stored.conflicting)
    found = []
    for place, reading in enumerate(decoded.readings):
        key = (reading.machine_id, reading.timestamp)
        if key in new:
            new.remove(key)  # of two in one batch the first was stored
        elif place not in conflicting:
            found.append(decoded.records[place])
    return found


def advance(
    known: Mapping[int, Progress],
    committed: Mapping[int, int],
    spans: Sequence[Span],
    letters: Sequence[DeadLetter],
    duplicates: Sequence[Record],
) -> Advance:
    """`committed`: the group's offsets in Kafka, where a partition without a row was to begin."""
    dead, doubled = _offsets(letters), _offsets(duplicates)
    result = Advance()
    for span in spans:
        before = result.moved.get(span.partition) or known.get(span.partition)
        start = committed.get(span.partition)
        place = before.place if before else None if start is None else Place(start)
        followed = follow(place, span)
        begin = span.first if place is None else 0 if followed.is_recreated else place.next_offset
        base = before if before and not followed.is_recreated else Progress(begin, begin, span.newest_ms)
        fresh = range(followed.fresh_from, span.end)
        dead_letters = sum(offset in fresh for offset in dead[span.partition])
        repeated = sum(offset in fresh for offset in doubled[span.partition])
        result.gaps += followed.gaps
        result.moved[span.partition] = Progress(
            from_offset=base.from_offset,
            next_offset=followed.place.next_offset,
            newest_ms=followed.place.newest_ms or span.newest_ms,
            stored=base.stored + len(fresh) - dead_letters - repeated,
            duplicates=base.duplicates + repeated,
            dead_letters=base.dead_letters + dead_letters,
            vanished=base.vanished + sum(gap.records for gap in followed.gaps if gap.reason == "vanished"),
        )
    return result


def _offsets(places: Iterable[Record | DeadLetter]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for place in places:
        found[place.partition].append(place.offset)
    return found
