"""Named crash points: `PDM_CRASH=ingestor.after_db_commit:3` kills the process the third time it comes by that point.

For fault tests: a crash at the worst moment must lose and double nothing. Unarmed, a point costs one look-up.
"""

import os
import signal
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
]

_left: dict[str, int] = {}  # point: how often the process may still come by


def arm(text: str) -> None:
    """`point` or `point:times`; empty disarms. Raises Misconfigured for an unknown point."""
    point, _, times = text.partition(":")
    if text and (point not in get_args(CrashPoint) or not (times or "1").isdecimal() or times == "0"):
        raise Misconfigured(
            f"PDM_CRASH: {text!r} is no crash point",
            hint=f"Name one of {', '.join(get_args(CrashPoint))}, and a count.",
        )
    _left.clear()
    if text:
        _left[point] = int(times or 1)


def reached(point: CrashPoint) -> None:
    """Die here, without a word and without cleaning up, when this point is armed and its count is spent."""
    if point in _left:
        _left[point] -= 1
        if _left[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
