"""The four topics: what each must look like, made and aligned by the admin client. Deletes and shrinks nothing."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from pdm.config import ALERT_TOPIC, PROBE_TOPIC, RAW_TOPIC, TRUTH_TOPIC, KafkaSettings
from pdm.errors import PdmError, Retryable

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
READ_BYTES = 8 * 1024 * 1024  # of one partition at a time: the usual 1 MB halves the speed
READ_RECORDS = 10_000
READ_IDLE_S = 30
_SET_ON_TOPIC = 1  # config_source of a value set on the topic itself, as opposed to the broker's default


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicFound:
    """A topic as the cluster has it. No partition at all: it is not there."""

    spec: TopicSpec
    partitions: int = 0
    replication_factor: int = 0
    leaderless: int = 0
    configs: Mapping[str, str] = field(default_factory=dict)  # values set on the topic itself

    @property
    def wrong_configs(self) -> dict[str, str]:
        """What `ensure_topics` would set."""
        return {name: value for name, value in self.spec.configs.items() if self.configs.get(name) != value}

    @property
    def complaints(self) -> list[str]:
        """What a person must decide: changing these moves keys or data, so nothing here does it."""
        if not self.partitions:
            return ["missing"]
        found = []
        if self.partitions != self.spec.partitions:
            found.append(f"{self.partitions} partitions, settings say {self.spec.partitions}")
        if self.replication_factor != self.spec.replication_factor:
            found.append(f"replication factor {self.replication_factor}, settings say {self.spec.replication_factor}")
        if self.leaderless:
            found.append(f"{self.leaderless} of {self.partitions} partitions have no leader")
        return found


def topic_specs(settings: KafkaSettings) -> tuple[TopicSpec, ...]:
    return (
        _spec(settings, RAW_TOPIC, settings.raw_partitions, 48 * HOUR_MS, {"compression.type": "lz4"}),
        _spec(settings, ALERT_TOPIC, settings.alert_partitions, 14 * DAY_MS),
        _spec(settings, TRUTH_TOPIC, 1, 7 * DAY_MS),
        _spec(settings, PROBE_TOPIC, 1, HOUR_MS),
    )


def _spec(
    settings: KafkaSettings, name: str, partitions: int, retention_ms: int, more: Mapping[str, str] | None = None
) -> TopicSpec:
    configs = {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "segment.ms": str(retention_ms // 8),  # only closed segments expire, the default closes one a week
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": "2" if settings.replication_factor > 2 else "1",
        "unclean.leader.election.enable": "false",
        **(more or {}),
    }
    return TopicSpec(name, partitions, settings.replication_factor, configs)


async def ensure_topics(settings: KafkaSettings) -> list[TopicFound]:
    """Make what is missing, set the configs of what is there, return what is found then. Safe beside another one."""
    async with _admin(settings) as admin:
        for topic in await _find(admin, settings):
            if not topic.partitions:
                await _create(admin, topic.spec)
            elif topic.wrong_configs:
                await _align(admin, topic)
        return await _find(admin, settings)


async def find_topics(settings: KafkaSettings) -> list[TopicFound]:
    """Every topic of ours as the cluster has it. Raises Retryable when Kafka does not answer."""
    async with _admin(settings) as admin:
        return await _find(admin, settings)


@asynccontextmanager
async def open_tail(settings: KafkaSettings, *topics: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, at the end of every partition of `topics`: it sees what is appended from now on.

    Raises Retryable when Kafka does not answer or a topic is missing.
    """
    partitions = await _partitions(settings, *topics)
    async with _reader(settings) as consumer:
        consumer.assign(partitions)
        for partition, end in (await consumer.end_offsets(partitions)).items():
            consumer.seek(partition, end)
        yield consumer


async def newest_record(settings: KafkaSettings, topic: str, timeout_s: float = 5.0) -> ConsumerRecord | None:
    """The record appended last to a topic of one partition; None while it is empty. Raises Retryable."""
    (partition,) = await _partitions(settings, topic)
    async with _reader(settings) as consumer:
        end = (await consumer.end_offsets([partition]))[partition]
        if end <= (await consumer.beginning_offsets([partition]))[partition]:
            return None
        consumer.assign([partition])
        consumer.seek(partition, end - 1)
        records = (await consumer.getmany(partition, timeout_ms=int(timeout_s * 1000))).get(partition)
        return records[-1] if records else None


async def group_lag(settings: KafkaSettings, group: str, topic: str) -> int | None:
    """Records of `topic` that `group` has not committed yet; None when it never committed. Raises Retryable."""
    partitions = await _partitions(settings, topic)
    async with _admin(settings) as admin, _reader(settings) as consumer:
        committed = await admin.list_consumer_group_offsets(group)
        if not any(partition in committed for partition in partitions):
            return None
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        done = {partition: committed[partition].offset if partition in committed else 0 for partition in partitions}
        return sum(int(ends[part] - max(begins[part], done[part])) for part in partitions)


async def committed_offsets(settings: KafkaSettings, group: str, topic: str) -> dict[int, int]:
    """By partition, the offset that `group` will read next; a partition it never committed is absent."""
    async with _admin(settings) as admin:
        committed = await admin.list_consumer_group_offsets(group)
    return {tp.partition: found.offset for tp, found in committed.items() if tp.topic == topic and found.offset >= 0}


async def log_spans(settings: KafkaSettings, topic: str, since: datetime | None = None) -> dict[int, tuple[int, int]]:
    """By partition, the first offset that is there, or was appended from `since` on, and one past the last."""
    partitions = await _partitions(settings, topic)
    async with _reader(settings) as consumer:
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        if since is not None:
            since_ms = int(since.timestamp() * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
            begins = {tp: found[tp].offset if found[tp] else ends[tp] for tp in partitions}
    return {tp.partition: (begins[tp], ends[tp]) for tp in sorted(partitions)}


async def read_span(
    settings: KafkaSettings, topic: str, partition: int, begin: int, end: int
) -> AsyncIterator[Sequence[ConsumerRecord]]:
    """The records with begin ≤ offset < end that are there, in order, in batches. Raises Retryable."""
    tp = TopicPartition(topic, partition)
    if begin >= end:
        return
    async with _reader(settings, auto_offset_reset="earliest", max_partition_fetch_bytes=READ_BYTES) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, begin)
        idle = 0
        while (position := await consumer.position(tp)) < end:
            records = (await consumer.getmany(tp, timeout_ms=1_000, max_records=READ_RECORDS)).get(tp, [])
            if records and records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            if records:
                yield records
            idle = 0 if await consumer.position(tp) > position else idle + 1
            if idle > READ_IDLE_S:
                raise Retryable(f"Kafka sends nothing of {topic} partition {partition} from offset {position} on")


async def has_handled_all(settings: KafkaSettings, group: str, topic: str) -> bool:
    """Whether `group` has committed everything that `topic` holds by now. Raises Retryable."""
    lag = await group_lag(settings, group, topic)
    if lag is not None:
        return lag == 0
    partitions = await _partitions(settings, topic)
    async with _reader(settings) as consumer:
        return bool(await consumer.end_offsets(partitions) == await consumer.beginning_offsets(partitions))


async def _partitions(settings: KafkaSettings, *topics: str) -> list[TopicPartition]:
    async with _admin(settings) as admin:
        described = await _describe(admin, topics)
    if missing := sorted(set(topics) - set(described)):
        raise Retryable(f"Kafka has no topic {', '.join(missing)}", hint="Run `pdm setup`.")
    return [TopicPartition(topic, part["partition"]) for topic, parts in described.items() for part in parts]


@asynccontextmanager
async def _reader(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        client_id="pdm.reader",
        **options,
    )
    with _as_retryable(settings):
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


@asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.bootstrap_servers, client_id="pdm.setup", request_timeout_ms=10_000
    )
    with _as_retryable(settings):
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


@contextmanager
def _as_retryable(settings: KafkaSettings) -> Iterator[None]:
    try:
        yield
    except (KafkaConnectionError, OSError, TimeoutError) as error:
        hint = "Is it running and PDM_KAFKA__BOOTSTRAP_SERVERS right?"
        raise Retryable(f"Kafka does not answer at {settings.bootstrap_servers}", hint=hint) from error
    except KafkaError as error:
        raise Retryable(f"Kafka at {settings.bootstrap_servers}: {error}") from error


async def _find(admin: AIOKafkaAdminClient, settings: KafkaSettings) -> list[TopicFound]:
    specs = {spec.name: spec for spec in topic_specs(settings)}
    described = await _describe(admin, specs)
    configs = await _configs(admin, list(described)) if described else {}
    return [_found(spec, described.get(name, []), configs.get(name, {})) for name, spec in specs.items()]


async def _describe(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Partitions of the named topics that exist. All are asked for: asking by name may create one."""
    wanted = set(names)
    return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics() if topic["topic"] in wanted}


def _found(spec: TopicSpec, partitions: list[dict[str, Any]], configs: Mapping[str, str]) -> TopicFound:
    return TopicFound(
        spec,
        partitions=len(partitions),
        replication_factor=min((len(part["replicas"]) for part in partitions), default=0),
        leaderless=sum(part["leader"] < 0 for part in partitions),
        configs=configs,
    )


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The values set on each topic itself."""
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"]
            for entry in resource["config_entries"]
            if entry["config_source"] == _SET_ON_TOPIC
        }
        for answer in answers
        for resource in answer.to_object()["resources"]
    }


async def _create(admin: AIOKafkaAdminClient, spec: TopicSpec) -> None:
    answer = await admin.create_topics(
        [NewTopic(spec.name, spec.partitions, spec.replication_factor, topic_configs=dict(spec.configs))]
    )
    for _, code, message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise PdmError(f"Kafka did not make the topic {spec.name}: {message or for_code(code).__name__}")


async def _align(admin: AIOKafkaAdminClient, topic: TopicFound) -> None:
    """Set our configs; values that somebody else set on the topic go along, or Kafka would drop them."""
    wanted = {**topic.configs, **topic.spec.configs}
    for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.spec.name, wanted)]):
        for code, message, *_ in answer.resources:
            if code:
                raise PdmError(f"Kafka did not take the settings of {topic.spec.name}: {message}")
