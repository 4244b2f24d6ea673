"""Remembers which minutes are already marked as due, so that a minute costs one mark instead of one a batch. Pure."""

from collections.abc import Iterable

from pdm.store.minutes import MachineMinute
from pdm.store.readings import Key


class DueMinutes:
    """A mark is known to stand only while its minute runs: the roll-up takes none before GRACE_S after its end.

    So the minutes of late readings are always marked again, and a cached mark has never been taken.
    """

    def __init__(self) -> None:
        self._marked: set[MachineMinute] = set()

    def unmarked(self, keys: Iterable[Key], now_s: float) -> list[MachineMinute]:
        """The minutes of `keys` to mark now, sorted. `now_s`: the wall clock just before the marks are written."""
        minutes = {(machine_id, int(timestamp.timestamp() // 60)) for machine_id, timestamp in keys}
        return sorted(minute for minute in minutes if minute not in self._marked or not _is_open(minute, now_s))

    def remember(self, marked: Iterable[MachineMinute], now_s: float) -> None:
        """Call it once the marks are committed."""
        self._marked = {minute for minute in self._marked.union(marked) if _is_open(minute, now_s)}


def _is_open(minute: MachineMinute, now_s: float) -> bool:
    """The running minute or the next; one further ahead is not worth remembering."""
    return 0 <= minute[1] - now_s // 60 <= 1
