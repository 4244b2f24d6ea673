"""The order of things for one batch: decode, warm up, score, step, commit, install, show.

State is kept only once the transitions it decided are committed. Redis comes last and may fail: the next batch writes
what it missed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from aiokafka import TopicPartition

from pdm import crash, metrics
from pdm.broker import Batch
from pdm.config import RAW_TOPIC, KafkaSettings
from pdm.errors import Retryable
from pdm.feature_store import Features, FeatureStore
from pdm.inference.commit import Stepped, step_and_commit
from pdm.inference.machine import Arrival, Cadence
from pdm.inference.partition import Partition, decode_batch, warm_up
from pdm.inference.scorer import Scorer
from pdm.inference.shown import features_of
from pdm.retry import within_budget
from pdm.store.pool import Pool

log = structlog.get_logger()


@dataclass(slots=True)
class Handler:
    """Handles the batches of one consumer. `now` gives aware UTC time and is used for `detected_at` alone."""

    kafka: KafkaSettings
    pool: Pool
    features: FeatureStore
    scorer: Scorer
    cadence: Cadence
    now: Callable[[], datetime]
    partitions: dict[int, Partition] = field(default_factory=dict)
    # Machine id: features and append time, s, that Redis has not got yet.
    unshown: dict[str, tuple[Features, float]] = field(default_factory=dict)

    async def on_assigned(self, assigned: set[TopicPartition]) -> None:
        self.partitions = {tp.partition: Partition(tp.partition) for tp in assigned}

    async def on_revoked(self, revoked: set[TopicPartition]) -> None:
        del revoked  # an eager rebalance takes everything back
        self.partitions = {}
        self.unshown.clear()  # the next owner shows newer values

    def forget(self, partition: int) -> None:
        """Its log begins anew: the state is that of the new one, and lower offsets are no replay."""
        self.partitions[partition] = Partition(partition)

    async def __call__(self, batch: Batch) -> None:
        began = time.monotonic()
        by_partition: dict[int, list[Arrival]] = {}
        for number in sorted({record.partition for record in batch}):
            records = tuple(record for record in batch if record.partition == number)
            by_partition[number] = await self._arrivals(number, records)
        live = {number: self.partitions[number] for number in by_partition}
        stepped = await asyncio.to_thread(
            within_budget, lambda: step_and_commit(self.pool, live, by_partition, self.cadence, self.now)
        )
        self._install(live, batch, stepped)
        await self._show(stepped)
        crash.reached("inference.after_redis")
        log.debug("inference.batch_judged", records=len(batch), ms=round(1e3 * (time.monotonic() - began), 1))

    async def _arrivals(self, number: int, records: Batch) -> list[Arrival]:
        """Warm the partition up if it is cold; then what of `records` has not been stepped yet."""
        partition = self.partitions.setdefault(number, Partition(number))
        if not partition.is_warm:
            tp = TopicPartition(RAW_TOPIC, number)
            count = await warm_up(partition, tp, records[0].offset, self.kafka, self.scorer, self.cadence)
            log.info("inference.warmed_up", partition=number, first_live=records[0].offset, records=count)
        fresh = [record for record in records if record.offset >= partition.next_offset]
        readings, refused = decode_batch(fresh)
        metrics.READINGS.labels("inference", "refused").inc(refused)
        scores = await asyncio.to_thread(self.scorer.score, [reading for reading, _ in readings])
        crash.reached("inference.after_model")
        return [Arrival(reading, place, score) for (reading, place), score in zip(readings, scores, strict=True)]

    def _install(self, live: dict[int, Partition], batch: Batch, stepped: Sequence[Stepped]) -> None:
        for item in stepped:
            item.partition.machines[item.after.machine_id] = item.after
            metrics.READINGS.labels("inference", "judged").inc(len(item.arrivals))
        for record in batch:
            live[record.partition].next_offset = max(live[record.partition].next_offset, record.offset + 1)

    async def _show(self, stepped: Sequence[Stepped]) -> None:
        for item in stepped:
            seen_s = item.arrivals[-1].position.appended_ms / 1000
            self.unshown[item.after.machine_id] = (features_of(item.after, item.arrivals[-1]), seen_s)
        if not self.unshown:
            return
        try:
            await self.features.write(
                {machine_id: features for machine_id, (features, _) in self.unshown.items()},
                {machine_id: seen_s for machine_id, (_, seen_s) in self.unshown.items()},
            )
        except Retryable as error:
            metrics.FEATURE_WRITE_FAILURES.inc()
            log.warning("inference.features_not_written", machines=len(self.unshown), error=str(error))
        else:
            self.unshown.clear()


def utc_now() -> datetime:
    return datetime.now(UTC)
