"""Watches a role's batches for offsets that vanished, writes them down before the batch is handled, and goes on."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from pdm import metrics
from pdm.broker import Batch, Handle
from pdm.config import RoleName, consumer_group
from pdm.continuity import Gap, Place, follow, spans_of
from pdm.retry import within_budget
from pdm.store.gaps import add_gaps, load_places, save_places
from pdm.store.pool import Pool, transaction

log = structlog.get_logger()


@dataclass(slots=True)
class GapWatch:
    """Stands before `handle`. For inference and portal; the ingestor compares with `ingest_progress` instead.

    `on_recreated` hears of a partition whose log begins anew, before the batch in which it was seen is handled.
    """

    role: RoleName
    topic: str
    pool: Pool
    handle: Handle
    on_recreated: Callable[[int], None] | None = None
    places: dict[int, Place] = field(default_factory=dict)
    _committed: Mapping[int, int] | None = None
    _saved: dict[int, Place] = field(default_factory=dict)

    def begin(self, committed: Mapping[int, int] | None) -> None:
        """A new assignment: another member may have read on meanwhile, nobody knows how far where `committed` is None.

        Reading then begins where it begins: what is remembered or kept may be seconds behind, which would be no gap.
        """
        self._committed = committed
        if committed is None:
            self.places = {}

    async def __call__(self, batch: Batch) -> None:
        """Raises Retryable when a gap cannot be written: the batch comes again, and the gap is seen again."""
        if self._committed is not None:
            kept = await asyncio.to_thread(within_budget, self._load)
            self.places, self._committed = starting_places(self.places, kept, self._committed), None
        places, gaps = _follow(self.places, batch)
        if gaps:
            new = await asyncio.to_thread(within_budget, lambda: self._write(gaps))
            tell_gaps(self.role, self.topic, new)
            self._forget(gaps)
        await self.handle(batch)
        self.places = places

    async def save(self) -> None:
        """Keep the places for a successor; a role does it every few seconds. Raises Retryable."""
        places = self.places
        if places != self._saved:
            await asyncio.to_thread(self._save, places)
            self._saved = places

    @property
    def _group(self) -> str:
        return consumer_group(self.role)

    def _load(self) -> dict[int, Place]:
        with transaction(self.pool) as conn:
            return load_places(conn, self._group, self.topic)

    def _save(self, places: Mapping[int, Place]) -> None:
        with transaction(self.pool) as conn:
            save_places(conn, self._group, self.topic, places)

    def _write(self, gaps: Sequence[Gap]) -> list[Gap]:
        with transaction(self.pool) as conn:
            return add_gaps(conn, self._group, self.topic, gaps)

    def _forget(self, gaps: Iterable[Gap]) -> None:
        for gap in gaps:
            if gap.reason == "recreated" and self.on_recreated is not None:
                self.on_recreated(gap.partition)


def starting_places(
    memory: Mapping[int, Place], kept: Mapping[int, Place], committed: Mapping[int, int]
) -> dict[int, Place]:
    """Where each partition is to go on. The committed offset decides, unless Kafka has forgotten it with the topic."""
    places = {}
    for partition in {*memory, *kept, *committed}:
        known = [place for place in (memory.get(partition), kept.get(partition)) if place is not None]
        newest = max(known, key=lambda place: (place.newest_ms or -1, place.next_offset), default=None)
        if partition in committed:
            newest = Place(committed[partition], newest.newest_ms if newest else None)
        if newest is not None:
            places[partition] = newest
    return places


def tell_gaps(role: RoleName, topic: str, gaps: Iterable[Gap]) -> None:
    """Log and count gaps that were not known yet. How much a recreated topic cost is unknown: it counts as one."""
    for gap in gaps:
        metrics.LOG_GAPS.labels(role, str(gap.partition)).inc(gap.records)
        log.error(
            "consumer.log_gap",
            role=role,
            topic=topic,
            partition=gap.partition,
            from_offset=gap.from_offset,
            to_offset=gap.to_offset,
            reason=gap.reason,
            hint="Records are gone that this role had not read. It goes on; table log_gap keeps the place.",
        )


def _follow(places: Mapping[int, Place], batch: Batch) -> tuple[dict[int, Place], list[Gap]]:
    after, gaps = dict(places), list[Gap]()
    for span in spans_of(batch):
        followed = follow(after.get(span.partition), span)
        after[span.partition] = followed.place
        gaps += followed.gaps
    return after, gaps
