"""The documents of the contracts: cursors, examples, OpenAPI and AsyncAPI."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from pdm.config import KafkaSettings
from pdm.contracts import asyncapi_document
from pdm.portal import examples
from pdm.portal.alert_routes import AlertDetail, AlertPage
from pdm.portal.machine_routes import MachinePage, ReadingPage
from pdm.portal.paging import AlertCursor, MachineCursor, TimeCursor, decode_cursor, encode_cursor
from pdm.portal.status import MachineStatus
from pdm.problems import Problem
from pdm.store.event_log import LogSpan
from tests.unit.portal.events import EPISODE, NOON


@pytest.mark.parametrize(
    "cursor", [AlertCursor(NOON, EPISODE), TimeCursor(NOON), MachineCursor("machine-001")], ids=lambda c: type(c)
)
def test_a_cursor_comes_back_as_it_went(cursor: AlertCursor | TimeCursor | MachineCursor) -> None:
    assert decode_cursor(encode_cursor(cursor), type(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "x", "%%%", "bnVsbA", "é", encode_cursor(MachineCursor("machine-001"))])
def test_another_cursor_is_refused(text: str) -> None:
    with pytest.raises(Problem) as raised:
        decode_cursor(text, AlertCursor)
    assert raised.value.status == 422


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (MachineStatus, examples.STATUS),
        (MachinePage, examples.MACHINES),
        (ReadingPage, examples.LOGS),
        (AlertPage, examples.ALERTS),
        (AlertDetail, examples.ALERT),
    ],
)
def test_an_example_is_what_the_route_answers(kind: Any, example: dict[str, Any]) -> None:
    adapter = TypeAdapter(kind)
    dumped = adapter.dump_python(adapter.validate_python(example), mode="json")
    assert _shape(dumped) == _shape(example)


def test_asyncapi_names_every_topic_with_its_fields() -> None:
    document = asyncapi_document(KafkaSettings())
    assert set(document["channels"]) == {"sensor-raw-data", "anomaly-alerts", "sensor-ground-truth", "cdc-probe"}
    schemas = document["components"]["schemas"]
    assert {"machine_id", "timestamp", "torque_nm", "channels"} <= schemas["Reading"]["properties"].keys()
    assert {"episode_id", "seq", "reasons", "failure_type"} <= schemas["AlertEvent"]["properties"].keys()
    assert schemas["Reading"]["properties"]["machine_id"]["pattern"].startswith("^[A-Za-z0-9]")


@pytest.mark.parametrize(
    ("oldest", "newest", "last_id", "can"),
    [(5, 9, 9, True), (5, 9, 4, True), (5, 9, 3, False), (5, 9, 10, False), (0, 0, 0, True), (0, 0, 7, False)],
)
def test_a_page_resumes_only_where_nothing_is_missing(oldest: int, newest: int, last_id: int, can: bool) -> None:
    assert LogSpan(oldest, newest).can_resume_after(last_id) is can


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shape(part) for name, part in value.items()}
    return [_shape(part) for part in value] if isinstance(value, list) else None
