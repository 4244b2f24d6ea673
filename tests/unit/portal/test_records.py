import json
import math
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdm.events import encode
from pdm.portal.records import Unusable, read_record
from pdm.store.inbox import Incoming
from tests.unit.portal.events import EVENT_ID, alert_event, alert_record, raw_alert_record

ID = ("id", str(EVENT_ID).encode())


def test_an_event_and_its_id() -> None:
    assert read_record(alert_record()) == Incoming(EVENT_ID, alert_event())


def test_headers_without_a_value_and_of_others_do_no_harm() -> None:
    assert isinstance(read_record(alert_record(headers=(("trace", None), ID, ("other", b"x")))), Incoming)


def test_a_newer_detector_may_say_more() -> None:
    more = encode(alert_event()).replace(b'{"machine_id"', b'{"unheard_of":[1],"machine_id"')
    assert isinstance(read_record(alert_record(more)), Incoming)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [((), "no header"), ((("id", None),), "no header"), ((("id", b"17"),), "UUID"), ((("id", b"\xff"),), "UUID")],
)
def test_a_record_without_its_id_is_unusable(headers: tuple[tuple[str, bytes | None], ...], reason: str) -> None:
    read = read_record(alert_record(headers=headers))
    assert isinstance(read, Unusable)
    assert reason in read.reason


@pytest.mark.parametrize(
    "fields",
    [
        {"machine_id": "no such id"},
        {"machine_id": "machine-001\n"},
        {"episode_id": "17"},
        {"seq": 0},
        {"seq": 2**31},
        {"reasons": ["NUL \0"]},
        {"failure_type": "Boredom"},
        {"event": "reopened"},
        {"score": "high"},
    ],
)
def test_what_could_not_be_stored_is_unusable(fields: dict[str, object]) -> None:
    document = {**msgspec.to_builtins(alert_event()), **fields}
    assert isinstance(read_record(alert_record(msgspec.json.encode(document))), Unusable)


@pytest.mark.parametrize("value", [None, b"", b"null", b"[]", b"{", b'"\\ud800"', b"\xff"])
def test_what_is_no_event_is_unusable(value: bytes | None) -> None:
    assert isinstance(read_record(raw_alert_record(value, (ID,))), Unusable)


@given(st.binary(max_size=200))
def test_no_bytes_raise(value: bytes) -> None:
    assert isinstance(read_record(raw_alert_record(value, (ID,))), Unusable)


@given(
    st.dictionaries(
        st.sampled_from([*msgspec.to_builtins(alert_event()), "more"]),
        st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
        max_size=3,
    )
)
def test_whatever_passes_can_be_stored(changes: dict[str, object]) -> None:
    document = {**msgspec.to_builtins(alert_event()), **changes}
    read = read_record(alert_record(json.dumps(document).encode()))
    if isinstance(read, Unusable):
        assert read.reason
        return
    assert "\0" not in encode(read.event).decode()
    assert 1 <= read.event.seq < 2**31
    assert math.isfinite(read.event.score)
    for moment in (read.event.timestamp, read.event.appended_at, read.event.detected_at):
        moment.astimezone(UTC)
    encode(read.event).decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"appended_at": "9999-12-31T23:59:59-14:00"},
        {"machine_id": "m" * 64},
        {"reasons": "many"},
    ],
)
def test_edges_of_what_can_be_stored(fields: dict[str, object]) -> None:
    document = {**msgspec.to_builtins(alert_event()), **fields}
    assert isinstance(read_record(alert_record(msgspec.json.encode(document))), Unusable)


@pytest.mark.parametrize("value", [b'{"a":' * 10_000, b"[" * 100_000, b'{"score":' + b"9" * 100_000 + b"}"])
def test_deep_and_huge_values_are_unusable(value: bytes) -> None:
    assert isinstance(read_record(raw_alert_record(value, (ID,))), Unusable)
