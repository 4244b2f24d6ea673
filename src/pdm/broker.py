"""Kafka, declared with FastStream: the one broker, the one way to consume batches, and what is known of its health.

No other file names a consumer option. Records arrive raw: a handler decodes each by itself, so that one bad record
never costs its neighbours.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.message import KafkaAckableMessage
from faststream.kafka.subscriber.usecase import BatchSubscriber

from pdm import metrics
from pdm.config import KafkaSettings, RoleName, consumer_group
from pdm.errors import Retryable
from pdm.retry import PAUSE_BEFORE_REWIND_S

REBALANCE_TIMEOUT_MS = 30_000  # a batch in hand may take this long before its partitions move
GRACEFUL_STOP_S = 15.0  # > the worst batch (10 s of retries), < the orchestrator's 30 s
METADATA_MAX_AGE_MS = 5_000  # a topic made anew is seen this soon; by default a consumer stands still for five minutes
IDLE_POLL_MS = 20  # FastStream waits it twice when idle: at most 40 ms before a record is seen
STUCK_AFTER_S = 60.0
COMMITTED_TIMEOUT_S = 5.0
MAX_BATCH_BYTES = 256 * 1024  # < the broker's 1 MB; at 16 KB a thousand machines reading at once wait on one another

log = structlog.get_logger()

Batch = tuple[ConsumerRecord, ...]
Handle = Callable[[Batch], Awaitable[None]]
OnPartitions = Callable[[set[TopicPartition]], Awaitable[None]]


def make_broker(settings: KafkaSettings, role: RoleName) -> KafkaBroker:
    """A broker for `role`: topics are never created by accident, and what is published is acknowledged by all."""
    return KafkaBroker(
        settings.bootstrap_servers,
        client_id=f"pdm.{role}",
        acks="all",
        enable_idempotence=True,
        compression_type="lz4",
        max_batch_size=MAX_BATCH_BYTES,
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        apply_types=False,
        graceful_timeout=GRACEFUL_STOP_S,
        logger=logging.getLogger("pdm.broker"),
        log_level=logging.DEBUG,  # a line a batch; failures are errors whatever this level is
    )


def _settled() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Subscription(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One batch consumer of a role: its assignment, its lag and whether its loop turns."""

    role: RoleName
    handle: Handle
    on_assigned: OnPartitions | None = None
    on_revoked: OnPartitions | None = None
    # Hears, at each assignment and before any of its batches, what the group had committed (absent: nothing), or None
    # where Kafka did not tell.
    on_committed: Callable[[Mapping[int, int] | None], None] | None = None
    assigned: set[TopicPartition] = field(default_factory=set)
    subscriber: BatchSubscriber | None = None
    newest_append_s: float | None = None
    has_joined: bool = False  # the group has answered, be it with no partition
    _began_at: float | None = None
    _in_hand: int = 0
    _seen_unread: set[TopicPartition] = field(default_factory=set)
    _is_settled: asyncio.Event = field(default_factory=_settled)  # no rebalance is under way

    async def __call__(self, batch: Batch) -> None:
        await self._is_settled.wait()  # the first batch may come before the listener has ended
        self._began_at, self._in_hand = time.monotonic(), len(batch)
        try:
            with metrics.BATCH_SECONDS.labels(self.role).time():
                await self.handle(batch)
        except Exception:
            metrics.BATCH_FAILURES.labels(self.role).inc()
            gc.collect()  # the traces of its retries hold the whole batch, and a role's collector is a calm one
            await asyncio.sleep(PAUSE_BEFORE_REWIND_S)
            raise  # FastStream logs it and rewinds every partition of the batch
        finally:
            self._began_at, self._in_hand = None, 0
        self.newest_append_s = max(record.timestamp for record in batch) / 1000

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if self.subscriber is not None:
            # Held across handler and commit, which a lock of our own in the handler would not be.
            await self.subscriber.lock.wait_release(REBALANCE_TIMEOUT_MS / 1000)  # type: ignore[attr-defined]
        self.assigned = set()
        self._is_settled.clear()
        if self.on_revoked is not None:
            await self.on_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.assigned, self.has_joined = set(assigned), True
        log.info("consumer.assigned", partitions=sorted(tp.partition for tp in assigned))
        try:
            if self.on_assigned is not None:
                await self.on_assigned(assigned)
            if self.on_committed is not None:
                self.on_committed(await self._committed(assigned))
        finally:
            self._is_settled.set()

    async def _committed(self, partitions: set[TopicPartition]) -> dict[int, int] | None:
        """Asked for now: with its next commit the group forgets where it was to go on."""
        try:
            return await self.committed_offsets(partitions)
        except Retryable as error:
            log.warning("consumer.committed_unknown", error=str(error))  # a gap of just now may then go unseen
            return None

    async def committed_offsets(self, partitions: Collection[TopicPartition] | None = None) -> dict[int, int]:
        """What Kafka holds for the group, by partition; absent: nothing. Of the assigned ones by default.

        Raises Retryable.
        """
        consumer, found = self.consumer, dict[int, int]()
        if consumer is None:
            return found
        try:
            async with asyncio.timeout(COMMITTED_TIMEOUT_S):
                for tp in self.assigned if partitions is None else partitions:
                    if (offset := await consumer.committed(tp)) is not None:
                        found[tp.partition] = offset
        except (KafkaError, TimeoutError) as error:  # also when a partition is taken away while this waits
            raise Retryable(f"committed offsets are unknown: {error!r}") from error
        return found

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        return self.subscriber.consumer if self.subscriber is not None else None

    def is_turning(self) -> bool:
        """False once a batch has been in hand for longer than a minute: its retries end after ten seconds."""
        return self._began_at is None or time.monotonic() - self._began_at < STUCK_AFTER_S

    def unanswered_s(self) -> float:
        """Time since Kafka last answered a fetch, s; 0 while a batch is in hand, for then nothing is asked."""
        consumer = self.consumer
        if consumer is None or self._in_hand:
            return 0.0
        newest = max((consumer.last_poll_timestamp(tp) or 0 for tp in consumer.assignment()), default=0)
        return max(0.0, time.time() - newest / 1000) if newest else 0.0

    def data_age_s(self) -> float | None:
        """Age of the newest record handled, by append time, s; None before the first."""
        return None if self.newest_append_s is None else max(0.0, time.time() - self.newest_append_s)

    async def lag_records(self) -> int:
        """Records appended but not yet handled, over the assigned partitions. Raises Retryable."""
        consumer = self.consumer
        if consumer is None:
            return 0
        try:
            positions = {tp: await consumer.position(tp) for tp in consumer.assignment()}
        except KafkaError as error:  # also when a partition is taken away while this waits
            raise Retryable(f"positions are unknown: {error}") from error
        lags = {tp: max(0, (consumer.highwater(tp) or 0) - position) for tp, position in positions.items()}
        for tp, lag in lags.items():
            metrics.CONSUMER_LAG.labels(self.role, str(tp.partition)).set(lag)
        total: int = sum(lags.values())
        return self._in_hand + total

    async def measure(self) -> None:
        """Bring the metrics of lag and data age up to date, and look for unread partitions; every few seconds."""
        await self.lag_records()
        if (age_s := self.data_age_s()) is not None:
            metrics.DATA_AGE.labels(self.role).set(age_s)
        await self._claim_unread()

    async def _claim_unread(self) -> None:
        """Join anew when the topic has grown and nobody in the group reads what was added.

        aiokafka watches for that in the group's leader alone, and a static member that came back by its name is none.
        """
        unread = await self._unread()
        if lasting := unread & self._seen_unread:
            log.warning("consumer.partitions_unread", partitions=sorted(tp.partition for tp in lasting))
            self.consumer._coordinator.request_rejoin()  # type: ignore[union-attr]  # noqa: SLF001  # there is no other
        self._seen_unread = unread - lasting

    async def _unread(self) -> set[TopicPartition]:
        """Partitions of others that hold records, and of which the group has never committed an offset."""
        consumer = self.consumer
        if consumer is None or not self.assigned:
            return set()
        known = {topic: consumer.partitions_for_topic(topic) or () for topic in consumer.subscription()}
        others = {TopicPartition(topic, number) for topic in known for number in known[topic]} - self.assigned
        committed = await self.committed_offsets(others)
        never = [tp for tp in others if tp.partition not in committed]
        try:
            begins, ends = await consumer.beginning_offsets(never), await consumer.end_offsets(never)
        except KafkaError as error:
            raise Retryable(f"offsets are unknown: {error!r}") from error
        return {tp for tp in never if ends[tp] > begins[tp]}


def subscribe_batches(
    broker: KafkaBroker, subscription: Subscription, topic: str, settings: KafkaSettings, *, max_records: int
) -> None:
    """Attach `subscription` to `topic` in the role's group. Offsets follow the handler, never lead it."""

    async def parse(batch: Batch) -> KafkaAckableMessage:
        return _as_message(batch, subscription.consumer)

    subscriber = broker.subscriber(
        Topic(topic, declare=False),
        batch=True,
        group_id=consumer_group(subscription.role),
        group_instance_id=f"{subscription.role}-{settings.instance_id}" if settings.instance_id else None,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        auto_offset_reset="earliest",
        max_records=max_records,
        batch_timeout_ms=IDLE_POLL_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        listener=subscription,
        parser=parse,
        decoder=_raw,
        title=topic,
    )
    subscription.subscriber = subscriber
    subscriber(subscription.__call__)


def subscribe_from_now(broker: KafkaBroker, topic: str, take: Callable[[ConsumerRecord], None]) -> None:
    """Show `take` every record appended to `topic` from now on. Without a group: each process sees them all."""

    async def parse(batch: Batch) -> KafkaAckableMessage:
        return _as_message(batch, None)

    subscriber = broker.subscriber(
        Topic(topic, declare=False),
        batch=True,
        ack_policy=AckPolicy.MANUAL,  # nothing is committed without a group
        auto_offset_reset="latest",
        batch_timeout_ms=IDLE_POLL_MS,
        parser=parse,
        decoder=_raw,
        title=f"{topic} from now on",
    )

    async def handle(batch: Batch) -> None:
        for record in batch:
            take(record)

    subscriber(handle)


def _as_message(batch: Batch, consumer: AIOKafkaConsumer | None) -> KafkaAckableMessage:
    """FastStream's own parser loses a whole batch on one header without a value; this one reads no header."""
    return KafkaAckableMessage(
        body=batch,
        raw_message=batch,
        headers={},
        batch_headers=[],
        message_id=f"{batch[0].partition}:{batch[0].offset}",
        correlation_id="-",
        consumer=consumer,
    )


async def _raw(message: KafkaAckableMessage) -> Batch:
    batch: Batch = message.raw_message
    return batch


async def read_before(
    settings: KafkaSettings,
    partition: TopicPartition,
    first_live: int,
    span_ms: int,
    step: Callable[[ConsumerRecord], None],
) -> int:
    """Feed `step` the records of the last `span_ms` (append time) before `first_live`, in order; return how many.

    It reads without a group, so no committed offset can move. Raises KafkaError; waits as long as Kafka is away.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=None, enable_auto_commit=False, client_id="pdm.warm-up"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        begin = (await consumer.beginning_offsets([partition]))[partition]
        if first_live <= begin:
            return 0
        start = await _offset_of_span(consumer, partition, first_live, span_ms, begin)
        consumer.seek(partition, start)
        count = 0
        while await consumer.position(partition) < first_live:
            for record in (await consumer.getmany(partition, timeout_ms=1_000, max_records=10_000)).get(partition, []):
                if record.offset < first_live:
                    step(record)
                    count += 1
        return count
    finally:
        await consumer.stop()


async def _offset_of_span(
    consumer: AIOKafkaConsumer, partition: TopicPartition, first_live: int, span_ms: int, begin: int
) -> int:
    """The first offset appended within `span_ms` before the record just before `first_live`."""
    consumer.seek(partition, first_live - 1)
    last = (await consumer.getmany(partition, timeout_ms=5_000, max_records=1)).get(partition)
    if not last:
        raise KafkaTimeoutError  # never the whole log instead: that may be two days of readings
    found = (await consumer.offsets_for_times({partition: last[0].timestamp - span_ms}))[partition]
    return max(begin, found.offset) if found else begin
