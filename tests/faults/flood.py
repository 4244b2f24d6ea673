"""The load of the soak: a thousand calm machines, sent in batches by a process of its own at any rate.

Lines with a rate come in, JSON lines with what is acknowledged go out; the end of the input is the end of the load.
"""

import asyncio
import contextlib
import json
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import DefaultPartitioner

from pdm.config import RAW_TOPIC
from pdm.events import encode
from tests.faults.machines import Machine
from tests.faults.sender import REQUEST_TIMEOUT_MS, RETRY_S, make_machines

MACHINES = 1_000
TICK_S = 0.1
MOST_OWED_S = 1.0  # after an outage the machines go on, they do not catch up
BATCH_BYTES = 512 * 1024
STOP_S = 60.0

Record = tuple[bytes, bytes]


class Flood:
    """The process, as the soak holds it. `acked`: readings that Kafka acknowledged, each counted once."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.prefix = prefix
        self.acked = 0
        self.retries = 0
        command = [sys.executable, "-m", "tests.faults.flood", bootstrap_servers, prefix]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, name="flood", daemon=True)
        self._reader.start()

    def __enter__(self) -> "Flood":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def set_rate(self, per_s: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{per_s}\n")
        self._process.stdin.flush()

    def finish(self) -> None:
        """Return once every reading that was made is acknowledged. Raises TimeoutError."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self._reader.join(1)
        if self._process.poll() != 0:
            raise TimeoutError(f"the load did not end within {STOP_S:.0f} s: {self._process.poll()}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self.acked, self.retries = told["acked"], told["retries"]


class _Source:
    """The machines in turn, each with its partition; time moves on evenly between two calls."""

    def __init__(self, machines: Sequence[Machine], partitions: Sequence[int]) -> None:
        choose = DefaultPartitioner()
        self._machines = [
            (machine, choose(machine.machine_id.encode(), list(partitions), list(partitions))) for machine in machines
        ]
        self._next = 0
        self._until_s = time.time()
        self.rate_hz = 0.0

    def take(self) -> dict[int, list[Record]]:
        """What is due now, by partition."""
        now_s = time.time()
        since_s = max(self._until_s, now_s - MOST_OWED_S)
        count = int((now_s - since_s) * self.rate_hz)
        due: dict[int, list[Record]] = defaultdict(list)
        for number in range(1, count + 1):
            machine, partition = self._machines[self._next]
            self._next = (self._next + 1) % len(self._machines)
            at = datetime.fromtimestamp(since_s + number / self.rate_hz, UTC)
            due[partition].append((machine.machine_id.encode(), encode(machine.read(at))))
        self._until_s = since_s + count / self.rate_hz if self.rate_hz else now_s
        return due


class _Pump:
    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self.acked = 0
        self.retries = 0

    async def send(self, partition: int, records: Sequence[Record]) -> None:
        """Repeats until it is acknowledged, so a record may stand in the log twice."""
        for batch in _parts(records):
            while not await self._send_once(partition, batch):
                self.retries += 1
                await asyncio.sleep(RETRY_S)
            self.acked += len(batch)

    async def _send_once(self, partition: int, records: Sequence[Record]) -> bool:
        batch = self._producer.create_batch()
        for key, value in records:
            batch.append(key=key, value=value, timestamp=None)
        batch.close()
        try:
            await (await self._producer.send_batch(batch, RAW_TOPIC, partition=partition))
        except KafkaError:
            return False
        return True


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Each fits into one batch."""
    size = max(1, BATCH_BYTES // (2 * max(len(value) + len(key) for key, value in records)))
    for start in range(0, len(records), size):
        yield records[start : start + size]


async def _run(bootstrap_servers: str, prefix: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        acks="all",
        max_batch_size=BATCH_BYTES,
        compression_type="lz4",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=100,
    )
    await producer.start()
    try:
        machines = make_machines(prefix, MACHINES, random.Random(prefix), has_bursts=False)
        source = _Source(machines, sorted(await producer.partitions_for(RAW_TOPIC)))
        pump = _Pump(producer)
        ended = asyncio.create_task(_follow(source))
        while not ended.done():
            await asyncio.gather(*(pump.send(*due) for due in source.take().items()))
            _tell(pump)
            await asyncio.sleep(TICK_S)
        _tell(pump)
    finally:
        await producer.stop()


async def _follow(source: _Source) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        source.rate_hz = float(line)


def _tell(pump: _Pump) -> None:
    sys.stdout.write(json.dumps({"acked": pump.acked, "retries": pump.retries}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)  # aiokafka tells of every connection that a fault cuts
    asyncio.run(_run(sys.argv[1], sys.argv[2]))
