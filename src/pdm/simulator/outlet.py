"""The way to Kafka: the two declared publishers and what is known of their health. No queue: each caller waits."""

import asyncio
import contextlib
import time

from aiokafka.errors import KafkaError
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


class Outlet:
    """Publishes readings and ground truth; an awaited send has been acknowledged by all in-sync replicas."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker
        self._readings = broker.publisher(Topic(RAW_TOPIC, declare=False))
        self._truth = broker.publisher(Topic(TRUTH_TOPIC, declare=False))
        self._refused_since: float | None = None
        self._refusal = ""

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
            raise self._refused(error) from error
        self._refused_since = None
        if isinstance(value, Reading):
            metrics.SIMULATED_READINGS.inc()

    async def close(self) -> None:
        """Disconnect within CLOSE_S; aiokafka alone would wait for an absent Kafka until it is back."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._broker.stop(), CLOSE_S)

    def _refused(self, error: KafkaError) -> Retryable:
        self._refused_since = self._refused_since or time.monotonic()
        self._refusal = str(error) or type(error).__name__
        return Retryable(f"Kafka refused a record: {self._refusal}", hint="Run `pdm doctor`.")

    async def check_kafka(self) -> Health:
        """Ready: the brokers answer a metadata request and refuse nothing."""
        if not await self._broker.ping(PING_TIMEOUT_S):
            return Health(False, f"no answer from Kafka within {PING_TIMEOUT_S:g} s")
        if self._refused_since is not None:
            return Health(False, f"Kafka refuses records: {self._refusal}")
        return Health(True, "connected")

    async def check_producer(self) -> Health:
        """Live: false once Kafka answers but has refused every record for a minute, which only a new producer mends."""
        since = self._refused_since
        if since is None or time.monotonic() - since < REFUSED_FOR_S:
            return Health(True, "records are taken" if since is None else self._refusal)
        return Health(False, f"every record refused for {time.monotonic() - since:.0f} s: {self._refusal}")
