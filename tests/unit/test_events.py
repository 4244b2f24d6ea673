"""The wire contract: what is a reading, and with which reason anything else is refused."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.errors import BadRecord
from pdm.events import MAX_RECORD_BYTES, Reading, decode_reading, encode

PLAN = {
    "machine_id": "machine-001",
    "timestamp": "2025-11-07T15:10:01Z",
    "air_temp_k": 299.1,
    "process_temp_k": 309.5,
    "rpm": 1500,
    "torque_nm": 42.8,
    "tool_wear_min": 5,
}


def bad(**changes: object) -> bytes:
    return json.dumps({**PLAN, **changes}).encode()


def test_the_reading_of_the_plan_is_understood() -> None:
    reading = decode_reading(b"machine-001", json.dumps(PLAN).encode())
    assert reading.timestamp == datetime(2025, 11, 7, 15, 10, 1, tzinfo=UTC)
    assert reading.sensor_values() == (299.1, 309.5, 1500.0, 42.8, 5.0)
    assert reading.product_type is None


def test_what_is_encoded_comes_back_equal() -> None:
    reading = Reading("m", datetime.now(UTC), rpm=1.5, product_type="H", channels={"vibration_mm_s": 2.1})
    assert decode_reading(b"m", encode(reading)) == reading


@pytest.mark.parametrize("absent", [{"rpm": None}, {"air_temp_k": None, "torque_nm": None, "rpm": None}])
def test_up_to_four_sensors_may_be_dead(absent: dict[str, None]) -> None:
    assert decode_reading(None, bad(**absent)).rpm is None


def test_unknown_fields_are_ignored() -> None:
    assert decode_reading(None, bad(firmware="2.1")).torque_nm == 42.8


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"{" + b" " * MAX_RECORD_BYTES + b"}", "oversized"),
        (b"", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b'{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":NaN}', "invalid_json"),
        (b"[" * 30_000, "wrong_type"),
        (b'{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":1e999}', "out_of_range"),
        (bad(rpm=1e300), "out_of_range"),
        (bad(rpm="fast"), "wrong_type"),
        (bad(rpm=True), "wrong_type"),
        (bad(product_type="X"), "wrong_type"),
        (b'{"timestamp":"2025-11-07T15:10:01Z","rpm":1}', "missing_field"),
        (bad(machine_id="machine-001\n"), "bad_machine_id"),
        (bad(machine_id="../../etc"), "bad_machine_id"),
        (bad(machine_id="{machine}"), "bad_machine_id"),
        (bad(timestamp="2025-11-07T15:10:01"), "bad_timestamp"),
        (bad(timestamp="yesterday"), "bad_timestamp"),
        (bad(timestamp="0001-01-01T00:00:00+14:00"), "bad_timestamp"),
        (bad(timestamp="9999-12-31T23:59:59-14:00"), "bad_timestamp"),
        (bad(**dict.fromkeys(("air_temp_k", "process_temp_k", "rpm", "torque_nm", "tool_wear_min"))), "no_sensor"),
        (bad(channels={"a\0b": 1}), "bad_channel"),
        (bad(channels={"vibration": "high"}), "bad_channel"),
    ],
)
def test_anything_else_is_refused_with_its_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_reading(None, value)
    assert caught.value.reason == reason


def test_a_key_that_is_not_the_machine_is_refused() -> None:
    with pytest.raises(BadRecord) as caught:
        decode_reading(b"machine-002", json.dumps(PLAN).encode())
    assert caught.value.reason == "key_mismatch"


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: repr(v).encode())
)
def test_no_bytes_make_the_decoder_raise_anything_but_a_bad_record(value: bytes) -> None:
    with pytest.raises(BadRecord):
        decode_reading(None, value)
