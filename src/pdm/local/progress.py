"""What the stack tells whoever shows it. Owns the words only, never how they look."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["preparing", "starting", "ready", "crashed", "gave_up", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`name` is an engine or a role, `seconds` is since the state before, `detail` is a text for a person."""

    name: str
    state: State
    seconds: float = 0.0
    detail: str = ""


OnProgress = Callable[[Progress], None]
"""Called from several threads, but never by two at once."""


def ignore(_: Progress) -> None:
    """For callers who show nothing."""
