"""Structured logs: one event name and its fields. Owns the set-up only: a level and a format."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

from pdm.config import LogSettings

EVERY_S = 30.0


def set_up_logging(settings: LogSettings, role: str) -> None:
    """Route structlog and the libraries' loggers to standard error; `role` stands on every line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _escape_values,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(_Thinned(time.monotonic))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level)
    for name in ("aiokafka", "faststream", "uvicorn.access", "httpx", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)


def escape_controls(text: str) -> str:
    """The text with everything escaped that moves a cursor, ends a line or turns the direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _escape_values(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What came from outside must not write a line, or a colour, of its own. A trace is written after this."""
    return {name: value if name == "exc_info" else _escaped(value) for name, value in event.items()}


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape_controls(value)
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


class _Thinned(logging.Filter):
    """A library's line once in half a minute: aiokafka tells of an absent broker thirty times a second.

    So would uvicorn of each caller that speaks no HTTP.
    """

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic_s = monotonic_s
        self._told: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        is_uvicorn_warning = record.name == "uvicorn.error" and record.levelno == logging.WARNING
        if not is_uvicorn_warning and not record.name.startswith("aiokafka"):
            return True
        key, now_s = (record.name, str(record.msg)), self._monotonic_s()
        if now_s - self._told.get(key, -EVERY_S) < EVERY_S:
            return False
        self._told[key] = now_s
        return True
