"""What bad records cost: the ingestor's decode and store path on good and on bad ones, on a PostgreSQL of its own.

    python benchmarks/dead_letters.py [--records 100000] [--rounds 5]

Rounds are interleaved, so that a busy machine slows both sides. Prints records a second of each side, and their ratio
with its spread. Takes about a minute, leaves nothing behind. Exit code 1 when the ratio is under the half promised.
"""

import argparse
import gc
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from aiokafka import ConsumerRecord

from pdm.config import RAW_TOPIC, MainDatabase, Settings
from pdm.ingestor.decode import decode_batch
from pdm.ingestor.writer import Writer
from pdm.local.stack import LocalStack
from pdm.store.pool import connect, open_pool
from pdm.store.schema import upgrade_main

BATCH_RECORDS = 10_000  # the default of PDM_INGESTOR__MAX_RECORDS
MACHINES = 100
APPENDED_TOGETHER = 100  # a producer's batch of 16 KB has one append time
WANTED_RATIO = 0.5
NOW = datetime.now(UTC)
SENSORS = {"air_temp_k": 299.1, "process_temp_k": 309.5, "rpm": 1500, "torque_nm": 42.8, "tool_wear_min": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    sides = {"good": [good(n) for n in range(args.records)], "bad": [bad(n) for n in range(args.records)]}
    rates: dict[str, list[float]] = {side: [] for side in sides}
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as a role does
    with main_database() as database:
        for number in range(args.rounds + 1):
            for side, records in sides.items():
                rate = measure(database, records)
                if number:  # the first round warms up
                    rates[side].append(rate)
    ratios = [b / g for b, g in zip(rates["bad"], rates["good"], strict=True)]
    for side, found in rates.items():
        print(f"{side:5} {statistics.median(found):9,.0f} /s  (min {min(found):,.0f}, max {max(found):,.0f})")
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:9.2f}     (min {min(ratios):.2f}, max {max(ratios):.2f}), wanted at least {WANTED_RATIO}")
    sys.exit(ratio < WANTED_RATIO)


@contextmanager
def main_database() -> Iterator[MainDatabase]:
    """On the engines of `pdm up`, in a folder that goes with them."""
    folder = Path(tempfile.mkdtemp(prefix="pdm-bench-"))
    folder.chmod(0o711)
    try:
        with LocalStack(Settings(data_dir=folder)) as stack:
            upgrade_main(stack.settings.main_db)
            yield stack.settings.main_db
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(database: MainDatabase, records: list[ConsumerRecord]) -> float:
    """Records a second from their bytes to the commit, into empty tables."""
    with connect(database.conninfo("owner"), "pdm.bench") as conn:
        conn.execute("TRUNCATE sensor_log, dead_letter, sensor_minute_due, ingest_progress")
        conn.execute("CHECKPOINT")
    pool = open_pool(database.conninfo("ingestor"), "pdm.bench")
    try:
        writer = Writer(pool, lambda: datetime.now(UTC), days_ahead=7)
        writer.write(decode_batch((warm_up(),)))  # the connection and the partitions are there
        began = time.perf_counter()
        for start in range(0, len(records), BATCH_RECORDS):
            writer.write(decode_batch(tuple(records[start : start + BATCH_RECORDS])))
        return len(records) / (time.perf_counter() - began)
    finally:
        pool.close()


def good(number: int) -> ConsumerRecord:
    machine_id = f"machine-{number % MACHINES:03d}"
    at = NOW + timedelta(milliseconds=10 * number)
    return record(number, machine_id, msgspec.json.encode({"machine_id": machine_id, "timestamp": at, **SENSORS}))


def bad(number: int) -> ConsumerRecord:
    """One of nine kinds in turn, those of the database included, as large as a good one."""
    machine_id = f"machine-{number % MACHINES:03d}"
    fields = {"machine_id": machine_id, "timestamp": NOW + timedelta(milliseconds=10 * number), **SENSORS}
    kinds: list[Callable[[], bytes | None]] = [
        lambda: msgspec.json.encode(fields)[:-1],
        lambda: random.Random(number).randbytes(150),
        lambda: msgspec.json.encode({**fields, "rpm": "1500"}),
        lambda: msgspec.json.encode({**fields, "torque_nm": 1e12}),
        lambda: msgspec.json.encode({**fields, "machine_id": "another"}),
        lambda: msgspec.json.encode({**fields, "timestamp": NOW + timedelta(days=30)}),
        lambda: msgspec.json.encode(dict.fromkeys(SENSORS) | {key: fields[key] for key in ("machine_id", "timestamp")}),
        lambda: msgspec.json.encode({key: value for key, value in fields.items() if key != "timestamp"}),
        lambda: msgspec.json.encode({**fields, "timestamp": NOW, "rpm": number}),  # a conflict but for the first
    ]
    return record(number, machine_id, kinds[number % len(kinds)]())


def warm_up() -> ConsumerRecord:
    value = msgspec.json.encode({"machine_id": "warm-up", "timestamp": NOW, **SENSORS})
    return record(0, "warm-up", value, partition=1)


def record(number: int, key: str, value: bytes | None, partition: int = 0) -> ConsumerRecord:
    return ConsumerRecord(
        topic=RAW_TOPIC,
        partition=partition,
        offset=number,
        timestamp=int(NOW.timestamp() * 1000) + number // APPENDED_TOGETHER,
        timestamp_type=1,
        key=key.encode(),
        value=value,
        checksum=None,
        serialized_key_size=len(key),
        serialized_value_size=len(value or b""),
        headers=(),
    )


if __name__ == "__main__":
    main()
