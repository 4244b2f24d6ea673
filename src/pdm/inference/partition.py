"""The machines of one assigned partition. Counts only while the assignment is the same; cold until warmed up."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from pdm import crash
from pdm.broker import Batch, read_before
from pdm.config import KafkaSettings
from pdm.errors import BadRecord, Retryable
from pdm.events import Reading, decode_reading
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival, Cadence, Machine, observe
from pdm.inference.scorer import Scorer

WARM_UP_TIMEOUT_S = 20.0  # < 30 s rebalance timeout; 200,000 records take half a second


@dataclass(slots=True)
class Partition:
    """State of one partition since its assignment. `next_offset` is the first offset not yet stepped."""

    number: int
    machines: dict[str, Machine] = field(default_factory=dict)
    is_warm: bool = False
    next_offset: int = 0


def decode_batch(records: Sequence[ConsumerRecord]) -> tuple[list[tuple[Reading, Position]], int]:
    """The readings with their positions, and how many records were refused: those are the ingestor's to set aside."""
    readings, refused = [], 0
    for record in records:
        try:
            readings.append((decode_reading(record.key, record.value), Position(record.timestamp, record.offset)))
        except BadRecord:
            refused += 1
    return readings, refused


async def warm_up(
    partition: Partition, tp: TopicPartition, first_live: int, settings: KafkaSettings, scorer: Scorer, cadence: Cadence
) -> int:
    """Step windows and counters through the span before `first_live`; returns how many records. Raises Retryable.

    Anchored at the first live record, not at now: after a long outage the span still is the one before it.
    """
    records: list[ConsumerRecord] = []
    try:
        async with asyncio.timeout(WARM_UP_TIMEOUT_S):
            await read_before(settings, tp, first_live, int(cadence.warm_up_s * 1000), records.append)
    except (KafkaError, OSError) as error:
        raise Retryable(f"warm-up of partition {tp.partition} failed: {error}") from error
    crash.reached("inference.in_warm_up")
    arrivals = await asyncio.to_thread(score_arrivals, tuple(records), scorer)
    machines: dict[str, Machine] = {}
    for arrival in arrivals:
        machine_id = arrival.reading.machine_id
        observe(machines.setdefault(machine_id, Machine.new(machine_id, cadence)), arrival)
    partition.machines, partition.is_warm, partition.next_offset = machines, True, first_live
    return len(records)


def score_arrivals(records: Batch, scorer: Scorer) -> list[Arrival]:
    """Decode and score in one go: the model's cost is per call, hardly per row."""
    readings, _ = decode_batch(records)
    scores = scorer.score([reading for reading, _ in readings])
    return [Arrival(reading, position, score) for (reading, position), score in zip(readings, scores, strict=True)]
