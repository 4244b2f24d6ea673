"""What a person sees: plain lines on standard output, errors as one line on standard error. Decides nothing."""

import io
import logging
import sys
import warnings

import structlog
from rich.console import Console

from pdm.errors import PdmError
from pdm.log import escape_controls

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_streams() -> None:
    """A pipe gets each line at once, and a terminal without Korean shows escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")


def say(line: str) -> None:
    """One line as it is: never wrapped, so that scripts can read it; markup and controls in it are only text."""
    console.print(escape_controls(line), markup=False, soft_wrap=True)


def say_error(error: Exception) -> None:
    """One line: what, and what to do."""
    if isinstance(error, PdmError):
        text = str(error) + (f" · {error.hint}" if error.hint else "")
    else:
        text = f"unexpected {type(error).__name__}: {error} · Run it again with --debug to see where."
    _errors.print(f"error: {escape_controls(' '.join(text.split()))}", markup=False)


def calm_libraries(*, is_debug: bool) -> None:
    """Keep logs and warnings of libraries away from a person's terminal; `pdm run` sets up its own."""
    root = logging.getLogger()
    root.handlers = [logging.StreamHandler() if is_debug else logging.NullHandler()]
    root.setLevel(logging.INFO if is_debug else logging.ERROR)
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    if not sys.warnoptions and not is_debug:
        warnings.simplefilter("ignore")
