"""Hostile texts at the doors that need no engine: both topics, cursors, log lines, the command line's lines, pages."""

import json
import logging
import re
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from pdm.cli import output
from pdm.config import LogSettings
from pdm.errors import BadRecord, PdmError
from pdm.events import decode_reading
from pdm.log import set_up_logging
from pdm.portal.paging import MachineCursor, decode_cursor, encode_cursor
from pdm.portal.records import Unusable, read_record
from pdm.problems import Problem
from tests.hostile import HOSTILE, LOG_LINE, STORABLE
from tests.records import reading_json
from tests.unit.portal.events import alert_event, alert_record

# A channel's name is a key of a JSON document, never a path and never an argument.
NO_CHANNELS = {name: text for name, text in HOSTILE.items() if name not in ("dots", "option")}

every = pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))


@pytest.fixture
def other_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def refusal(key: bytes | None, value: bytes) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        decode_reading(key, value)
    return caught.value


@every
def test_as_the_machine_of_a_reading(text: str) -> None:
    refused = refusal(None, reading_json(text))
    assert refused.reason == "bad_machine_id"
    assert text not in refused.detail or text in ("", "..", "   ")


@every
def test_as_the_key_of_a_reading(text: str) -> None:
    assert refusal(text.encode(), reading_json()).reason == "key_mismatch"


@pytest.mark.parametrize("text", NO_CHANNELS.values(), ids=list(NO_CHANNELS))
def test_as_the_channel_of_a_reading(text: str) -> None:
    assert refusal(None, reading_json(channels={text: 1.0})).reason == "bad_channel"


@every
def test_as_the_machine_of_an_alert(text: str) -> None:
    document = {**msgspec.to_builtins(alert_event()), "machine_id": text}
    assert isinstance(read_record(alert_record(msgspec.json.encode(document))), Unusable)


@every
def test_in_a_cursor(text: str) -> None:
    for cursor in (text, encode_cursor(MachineCursor(text))):
        with pytest.raises(Problem, match="not one of this list") as caught:
            decode_cursor(cursor, MachineCursor)
        assert caught.value.status == 422


@every
@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.usefixtures("other_logging")
def test_in_a_log_it_stays_on_its_line(text: str, log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(LogSettings.model_validate({"format": log_format}), "portal")
    logging.getLogger("a.library").warning("it says %s", text, extra={"more": text})
    structlog.get_logger().warning("portal.said", text=text, within=[text])
    lines = capsys.readouterr().err.split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    for line in lines[:2]:
        assert json.loads(line) if log_format == "json" else re.match(LOG_LINE, line)


@every
def test_in_an_error_of_the_command_line_it_is_one_plain_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say_error(PdmError(f"no machine {text}", hint=text))
    said = capsys.readouterr().err
    assert said.endswith("\n")
    assert said[:-1].isprintable()


@pytest.mark.parametrize("text", STORABLE.values(), ids=list(STORABLE))
def test_in_a_line_of_the_command_line_it_is_one_plain_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.say(f"machine {text}")
    assert capsys.readouterr().out[:-1].isprintable()
