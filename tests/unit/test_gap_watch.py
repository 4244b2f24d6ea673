"""Where a role goes on at an assignment, as far as no database is needed to tell."""

import asyncio
from typing import cast

from pdm.broker import Batch
from pdm.config import RAW_TOPIC
from pdm.continuity import Place
from pdm.gap_watch import GapWatch, starting_places
from pdm.store.pool import Pool
from tests.records import NOON, raw_record

NOON_MS = round(NOON.timestamp() * 1000)


def test_where_kafka_does_not_tell_what_was_committed_a_memory_that_is_behind_makes_no_gap() -> None:
    handled: list[Batch] = []

    async def handle(batch: Batch) -> None:
        handled.append(batch)

    no_pool = cast("Pool", None)  # a gap would be written, and fail
    watch = GapWatch("inference", RAW_TOPIC, no_pool, handle, places={0: Place(3, NOON_MS)})
    watch.begin(None)
    asyncio.run(watch((raw_record(b"", 9),)))

    assert len(handled) == 1
    assert watch.places == {0: Place(10, NOON_MS)}


def test_the_committed_offset_decides_over_what_is_remembered() -> None:
    assert starting_places({0: Place(3, 30)}, {0: Place(5, 50)}, {0: 9}) == {0: Place(9, 50)}


def test_an_offset_that_kafka_has_forgotten_is_told_by_the_newest_place() -> None:
    assert starting_places({0: Place(3, 30)}, {0: Place(5, 50)}, {}) == {0: Place(5, 50)}
