"""Raw records of `sensor-raw-data` as the consumer hands them over."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from pdm.config import RAW_TOPIC

NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)


def reading_json(machine_id: str = "machine-001", timestamp: datetime = NOON, **fields: Any) -> bytes:
    sensors = {"air_temp_k": 299.1, "process_temp_k": 309.5, "rpm": 1500, "torque_nm": 42.8, "tool_wear_min": 5}
    return msgspec.json.encode({"machine_id": machine_id, "timestamp": timestamp, **sensors, **fields})


def raw_record(
    value: bytes | None, offset: int = 0, *, key: bytes | None = None, partition: int = 0, appended_at: datetime = NOON
) -> ConsumerRecord:
    return ConsumerRecord(
        topic=RAW_TOPIC,
        partition=partition,
        offset=offset,
        timestamp=int(appended_at.timestamp() * 1000),
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=(),
    )
