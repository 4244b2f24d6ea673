"""A batch of raw records sorted into readings and dead letters: reasons, order, bounds."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from pdm.errors import RejectReason
from pdm.events import MAX_RECORD_BYTES
from pdm.ingestor.decode import conflicts_of, dead_letter, decode_batch, keep_within
from pdm.store.partitions import Bounds
from tests.records import NOON, raw_record, reading_json

BOUNDS = Bounds(datetime(2025, 11, 5, tzinfo=UTC), datetime(2025, 11, 15, tzinfo=UTC))

BAD: list[tuple[RejectReason, bytes | None]] = [
    ("null_value", None),
    ("oversized", b"x" * (MAX_RECORD_BYTES + 1)),
    ("invalid_json", b'{"machine_id": '),
    ("invalid_json", b"\xff\xfe"),
    ("invalid_json", b""),
    ("missing_field", b'{"machine_id": "m"}'),
    ("wrong_type", reading_json(torque_nm="42.8")),
    ("wrong_type", b"[]"),
    ("wrong_type", reading_json(product_type="X")),
    ("bad_machine_id", reading_json(machine_id="machine 1")),
    ("bad_machine_id", reading_json(machine_id="machine-1\n")),
    ("bad_timestamp", b'{"machine_id": "m", "timestamp": "2025-11-07T12:00:00", "rpm": 1}'),
    ("bad_timestamp", b'{"machine_id": "m", "timestamp": "noon", "rpm": 1}'),
    ("no_sensor", b'{"machine_id": "m", "timestamp": "2025-11-07T12:00:00Z"}'),
    ("out_of_range", reading_json(rpm=1e10)),
    ("bad_channel", reading_json(channels={"vibration": "high"})),
]


@pytest.mark.parametrize(("reason", "value"), BAD)
def test_a_bad_record_is_set_aside_with_its_reason_and_its_neighbours_stay(
    reason: RejectReason, value: bytes | None
) -> None:
    good = [raw_record(reading_json(timestamp=NOON + timedelta(seconds=n)), offset=n) for n in (1, 3)]

    decoded = decode_batch((good[0], raw_record(value, offset=2), good[1]))

    assert [record.offset for record in decoded.records] == [1, 3]
    assert [reading.timestamp.second for reading in decoded.readings] == [1, 3]
    assert [(letter.reason, letter.offset) for letter in decoded.rejected] == [(reason, 2)]


def test_a_key_that_is_not_the_machine_is_refused() -> None:
    decoded = decode_batch((raw_record(reading_json(), key=b"machine-002"),))

    assert [letter.reason for letter in decoded.rejected] == ["key_mismatch"]


@given(value=st.binary(), key=st.none() | st.binary())
def test_no_bytes_make_decoding_fail(value: bytes, key: bytes | None) -> None:
    decoded = decode_batch((raw_record(value, key=key),))

    assert len(decoded.readings) + len(decoded.rejected) == 1


def at(timestamp: datetime, offset: int = 0) -> ConsumerRecord:
    return raw_record(reading_json(timestamp=timestamp), offset)


def test_readings_outside_the_partitions_are_refused_and_those_on_the_edges_kept() -> None:
    tick = timedelta(microseconds=1)
    decoded = decode_batch(
        (at(BOUNDS.first - tick, 0), at(BOUNDS.first, 1), at(NOON, 2), at(BOUNDS.end - tick, 3), at(BOUNDS.end, 4))
    )

    within = keep_within(decoded, BOUNDS)

    assert [record.offset for record in within.records] == [1, 2, 3]
    assert [reading.timestamp for reading in within.readings] == [BOUNDS.first, NOON, BOUNDS.end - tick]
    assert [(letter.reason, letter.offset) for letter in within.rejected] == [("too_old", 0), ("too_new", 4)]


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_the_ends_of_the_calendar_are_refused_before_anybody_reckons_with_them(text: str) -> None:
    decoded = decode_batch((raw_record(b'{"machine_id": "m", "rpm": 1, "timestamp": "%s"}' % text.encode()),))

    assert [letter.reason for letter in decoded.rejected] == ["bad_timestamp"]


def test_a_batch_within_the_partitions_is_not_copied() -> None:
    decoded = decode_batch((at(NOON),))

    assert keep_within(decoded, BOUNDS) is decoded


def test_a_conflict_points_to_its_own_record() -> None:
    decoded = decode_batch((raw_record(None, 7), at(NOON, 8), at(NOON, 9)))

    letters = conflicts_of(decoded, [1])

    assert [(letter.reason, letter.offset) for letter in letters] == [("conflicting_duplicate", 9)]
    assert "machine-001 at 2025-11-07T12:00:00+00:00" in letters[0].detail


def test_an_oversized_body_is_cut_and_the_detail_says_so() -> None:
    value, key = b"v" * (MAX_RECORD_BYTES + 5), b"k" * (MAX_RECORD_BYTES + 7)

    letter = dead_letter(raw_record(value, key=key), "oversized", "65541 bytes")

    assert letter.value == value[:MAX_RECORD_BYTES]
    assert letter.key == key[:MAX_RECORD_BYTES]
    assert "65536 of 65541 bytes of its value" in letter.detail
    assert "65536 of 65543 bytes of its key" in letter.detail


def test_a_dead_letter_keeps_place_time_and_bytes() -> None:
    record = raw_record(b"not json\0", 12, key=b"machine-001", partition=3)

    letter = dead_letter(record, "invalid_json", "a NUL \0 in the text")

    assert (letter.topic, letter.partition, letter.offset) == ("sensor-raw-data", 3, 12)
    assert letter.appended_at == NOON
    assert (letter.key, letter.value) == (b"machine-001", b"not json\0")
    assert letter.detail == "a NUL  in the text"


def test_every_reason_is_documented_and_no_other() -> None:
    page = Path(__file__).parents[3].joinpath("docs", "dead-letters.md").read_text()
    table = page.partition("## Reasons")[2]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(get_args(RejectReason))
