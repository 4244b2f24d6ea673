"""The wire contract: what is a reading, and with which reason anything else is refused."""

import json
import re
import string
import time
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.errors import BadRecord, RejectReason
from pdm.events import (
    MACHINE_ID_PATTERN,
    MAX_RECORD_BYTES,
    Reading,
    decode_reading,
    encode,
)

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


def nested(depth: int, inside: bytes = b"1") -> bytes:
    return b'{"a":' * depth + inside + b"}" * depth


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (nested(10_000), "invalid_json"),
        (b'{"machine_id":"m","more":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "invalid_json"),
        (b'{"channels":' + nested(5_000) + b"}", "bad_channel"),
        (b'{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":' + b"9" * 60_000 + b"}", "out_of_range"),
        (b'{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":-1e999}', "out_of_range"),
        (bad(machine_id=12), "bad_machine_id"),
        (bad(timestamp=1762528201), "bad_timestamp"),
        (bad(timestamp="2025-11-07T15:10:61Z"), "bad_timestamp"),
        (bad(timestamp="2025-11-07T15:10:01+25:00"), "bad_timestamp"),
        (bad(channels={f"c{number}": 1 for number in range(65)}), "bad_channel"),
        (bad(channels={"c" * 64: 1}), "bad_channel"),
        (bad(channels={"c": 1e300}), "out_of_range"),
        (bad(channels=[]), "bad_channel"),
        (rb'{"machine_id":"\ud800","timestamp":"2025-11-07T15:10:01Z","rpm":1}', "invalid_json"),
        (b'{"machine_id":"m\xed\xa0\x80","timestamp":"2025-11-07T15:10:01Z","rpm":1}', "invalid_json"),
        (b'\xef\xbb\xbf{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":1}', "invalid_json"),
        (b'{"machine_id":"m","timestamp":"2025-11-07T15:10:01Z","rpm":1}{}', "invalid_json"),
    ],
)
def test_what_breaks_other_decoders_is_refused_quickly(value: bytes, reason: str) -> None:
    assert len(value) <= MAX_RECORD_BYTES
    began = time.process_time()
    with pytest.raises(BadRecord) as caught:
        decode_reading(None, value)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 500
    assert time.process_time() - began < 0.1


def test_of_a_field_given_twice_the_last_counts() -> None:
    """As with every JSON reader of note; what is stored is what was judged."""
    twice = json.dumps(PLAN).encode().replace(b'"rpm": 1500', b'"rpm": "fast", "rpm": 1, "rpm": 2')
    with pytest.raises(BadRecord):
        decode_reading(None, twice)
    assert decode_reading(None, twice.replace(b'"fast"', b"0")).rpm == 2


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
SPOILT = st.builds(
    lambda changes: json.dumps({**PLAN, **changes}).encode(),
    st.dictionaries(st.sampled_from([*PLAN, "product_type", "channels", "more"]), JSON_TEXTS, max_size=4),
)
CUT = st.builds(
    lambda value, start, end, more: value[:start] + more + value[end:],
    SPOILT,
    st.integers(0, 200),
    st.integers(0, 200),
    st.binary(max_size=5),
)


@given(
    st.none() | st.binary(max_size=70),
    st.binary(max_size=200) | SPOILT | CUT,
)
def test_any_bytes_are_a_reading_or_have_a_reason_of_the_list(key: bytes | None, value: bytes) -> None:
    try:
        reading = decode_reading(key, value)
    except BadRecord as error:
        refused = error
    else:
        assert re.fullmatch(MACHINE_ID_PATTERN, reading.machine_id)
        assert decode_reading(key, encode(reading)) == reading
        assert reading.timestamp.astimezone(UTC)
        return
    assert refused.reason in get_args(RejectReason)
    assert refused.detail


NAME_LETTERS = string.ascii_letters + string.digits + "._-"
SENSED = st.floats(-1e9, 1e9)
VALUES = SENSED | st.none()
READINGS = st.builds(
    Reading,
    machine_id=st.text(NAME_LETTERS, min_size=1, max_size=60).map(lambda text: "m" + text),
    timestamp=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    air_temp_k=SENSED,
    process_temp_k=VALUES,
    rpm=VALUES,
    torque_nm=VALUES,
    tool_wear_min=VALUES,
    product_type=st.sampled_from(["L", "M", "H", None]),
    channels=st.none()
    | st.dictionaries(st.text(NAME_LETTERS, min_size=1, max_size=63), st.floats(-1e9, 1e9), max_size=8),
)


@given(READINGS)
def test_every_reading_comes_back_equal_to_the_last_bit(reading: Reading) -> None:
    assert decode_reading(reading.machine_id.encode(), encode(reading)) == reading
