"""Alert events and the records that carry them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRecord

from pdm.config import ALERT_TOPIC
from pdm.events import AlertEvent, encode

NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)
EPISODE = UUID("0b0e2c4e-6a0d-5d5a-9f57-3c1f1d0a7c11")
EVENT_ID = UUID("5f1d0a7c-2c4e-5d5a-9f57-0b0e3c1f6a0d")


def alert_event(**fields: Any) -> AlertEvent:
    """An `opened` whose deciding reading was appended at noon, 100 ms after it was measured."""
    given: dict[str, Any] = {
        "machine_id": "machine-001",
        "failure_type": "Overstrain",
        "timestamp": NOON - timedelta(milliseconds=100),
        "version": 1,
        "event": "opened",
        "episode_id": str(EPISODE),
        "seq": 1,
        "severity": "critical",
        "appended_at": NOON,
        "score": 1.1,
        "failure_types": ["Overstrain"],
        "reasons": ["one-minute mean torque 71.3 Nm, limit 65 Nm"],
        "model_version": None,
        "detected_at": NOON + timedelta(milliseconds=60),
        **fields,
    }
    return AlertEvent(**given)


def alert_record(
    value: bytes | None = None,
    headers: tuple[tuple[str, bytes | None], ...] | None = None,
    *,
    offset: int = 0,
    event: AlertEvent | None = None,
) -> ConsumerRecord:
    if value is None:
        value = encode(event or alert_event())
    return raw_alert_record(value, (("id", str(EVENT_ID).encode()),) if headers is None else headers, offset)


def raw_alert_record(
    value: bytes | None, headers: tuple[tuple[str, bytes | None], ...], offset: int = 0
) -> ConsumerRecord:
    return ConsumerRecord(
        topic=ALERT_TOPIC,
        partition=0,
        offset=offset,
        timestamp=int(NOON.timestamp() * 1000),
        timestamp_type=1,
        key=b"machine-001",
        value=value,
        checksum=None,
        serialized_key_size=11,
        serialized_value_size=len(value or b""),
        headers=headers,
    )
