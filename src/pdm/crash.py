"""Named crash points: `PDM_CRASH=ingestor.after_db_commit:3` kills the process the third time it comes by that point.

With `:stop` behind it the process is stopped instead, as a zombie: whoever armed it lets it go on. For fault tests: the
worst moment must lose and double nothing. Unarmed, a point costs one look-up.
"""

import os
import re
import signal
from dataclasses import dataclass
from typing import Literal, get_args

from pdm.errors import Misconfigured

CrashPoint = Literal[
    "ingestor.after_fetch",
    "ingestor.mid_copy",
    "ingestor.before_db_commit",
    "ingestor.after_db_commit",
    "ingestor.on_revoked",
    "inference.in_warm_up",
    "inference.after_model",
    "inference.after_step",
    "inference.before_db_commit",
    "inference.after_db_commit",
    "inference.after_redis",
    "portal.before_db_commit",
    "portal.after_db_commit",
    "portal.after_send",
    "relay.after_stop",
    "relay.after_delete",
    "relay.after_resume",
]


@dataclass(slots=True)
class _Armed:
    left: int  # how often the process may still come by
    signal: signal.Signals


_armed: dict[str, _Armed] = {}


def arm(text: str) -> None:
    """`POINT[:TIMES][:stop]`; empty disarms. Raises Misconfigured for anything else."""
    _armed.clear()
    if not text:
        return
    found = re.fullmatch(r"([a-z_.]+)(?::([1-9]\d*))?(:stop)?", text)
    if found is None or found[1] not in get_args(CrashPoint):
        hint = f"Name one of {', '.join(get_args(CrashPoint))}, and a count."
        raise Misconfigured(f"PDM_CRASH: {text!r} is no crash point", hint=hint)
    _armed[found[1]] = _Armed(int(found[2] or 1), signal.SIGSTOP if found[3] else signal.SIGKILL)


def reached(point: CrashPoint) -> None:
    """End or stop here, without a word and without cleaning up, when this point is armed and its count is spent."""
    if point in _armed:
        _armed[point].left -= 1
        if _armed[point].left == 0:
            os.kill(os.getpid(), _armed[point].signal)
