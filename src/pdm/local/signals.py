"""Ctrl-C, SIGTERM and SIGHUP as one event that a stack can wait for. Owns the handlers, decides nothing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Set by the first such signal; further ones change nothing, the end is bounded. For the main thread."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # under nohup a hang-up must stay ignored
            signal.signal(number, lambda *_: stop.set())
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
