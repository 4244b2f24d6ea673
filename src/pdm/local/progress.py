"""What the stack tells whoever shows it. Owns the words only, never how they look."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["preparing", "starting", "running", "ready", "crashed", "gave_up", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`name` is an engine, a role or `jars`; `seconds` is what the step took; `detail` is for a person.

    An engine becomes `ready` when it answers, a role `running` when its process is there: its own health says more.
    """

    name: str
    state: State
    seconds: float = 0.0
    detail: str = ""


OnProgress = Callable[[Progress], None]
"""Called from several threads, but never by two at once."""


def ignore(_: Progress) -> None:
    """For callers who show nothing."""
