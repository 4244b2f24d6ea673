"""The way to Kafka: the two declared publishers and what is known of their health. No queue: each caller waits."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from faststream.exceptions import IncorrectState
from faststream.kafka import KafkaBroker, Topic

from pdm import metrics
from pdm.config import RAW_TOPIC, TRUTH_TOPIC
from pdm.errors import Retryable
from pdm.events import GroundTruth, Reading, encode
from pdm.http import Health

PING_TIMEOUT_S = 2.0  # < the 3 s that a check may take
REFUSED_FOR_S = 60.0
CLOSE_S = 3.0
_HEADERS = {"content-type": "application/json"}  # FastStream would send an empty one

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why Kafka last took no record, and since when (monotonic, s). `is_lasting`: this producer will get no other."""

    text: str
    since_s: float
    is_lasting: bool


class Outlet:
    """Publishes readings and ground truth; an awaited send has been acknowledged by all in-sync replicas."""

    def __init__(self, broker: KafkaBroker, now: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._now = now
        self._readings = broker.publisher(Topic(RAW_TOPIC, declare=False))
        self._truth = broker.publisher(Topic(TRUTH_TOPIC, declare=False))
        self._refusal: Refusal | None = None

    async def send(self, value: Reading | GroundTruth) -> None:
        """Return once Kafka has acknowledged it, however long Kafka is away. Raises Retryable when it is refused."""
        publisher = self._readings if isinstance(value, Reading) else self._truth
        try:
            await publisher.publish(
                encode(value), key=value.machine_id.encode(), headers=_HEADERS, correlation_id=value.machine_id
            )
        except IncorrectState:
            raise Retryable("not connected to Kafka") from None
        except KafkaError as error:
            self._note(error)
            raise Retryable(f"Kafka refused a record: {error!r}", hint="Run `pdm doctor`.") from error
        self._refusal = None
        if isinstance(value, Reading):
            metrics.SIMULATED_READINGS.inc()

    async def close(self) -> None:
        """Disconnect within CLOSE_S; aiokafka alone would wait for an absent Kafka until it is back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._broker.stop(), CLOSE_S)

    async def check_kafka(self) -> Health:
        """Ready: the brokers answer a metadata request and refuse nothing."""
        if not await self._broker.ping(PING_TIMEOUT_S):
            return Health(False, f"no answer from Kafka within {PING_TIMEOUT_S:g} s")
        if self._refusal is not None:
            return Health(False, f"Kafka refuses records: {self._refusal.text}")
        return Health(True, "connected")

    async def check_producer(self) -> Health:
        """Live: false after a minute of errors that no retry mends, such as a lost sequence: a new producer does."""
        refusal = self._refusal
        if refusal is None or not refusal.is_lasting:
            return Health(True, "the producer works")
        refused_s = self._now() - refusal.since_s
        return Health(refused_s < REFUSED_FOR_S, f"every record refused for {refused_s:.0f} s: {refusal.text}")

    def _note(self, error: KafkaError) -> None:
        if self._refusal is None:
            log.warning("simulator.refused", error=repr(error))
        is_lasting = not error.retriable and not isinstance(error, TopicAuthorizationFailedError)
        since_s = self._refusal.since_s if self._refusal is not None else self._now()
        self._refusal = Refusal(repr(error), since_s, is_lasting)
