"""One machine's time: its own clock against the broker's. Pure.

Windows and gaps use one *effective* time: the reading's own, or the broker's append time while the machine's clock is
known to be wrong. Order is always the log's, never that of the timestamps.
"""

from dataclasses import dataclass, replace
from typing import Literal

SKEW_S = 600.0  # a clock this far off is wrong, if it also runs at the right pace
SKEW_PROVED_S = 60.0
RECENT_S = 10.0  # a reading this late still enters the windows
PACE_TOLERANCE_S = 5.0
TOGETHER_S = 0.9  # appended within this, readings came together
STEPPED_BACK_READINGS = 5
STEPPED_BACK_S = 3.0  # append time they take at least: a flushed backlog comes at once

Place = Literal["next", "recent", "old", "jumped"]
"""next: in order. recent: late, windows only. old: not stepped at all. jumped: the clock changed, windows restart."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Readings that advance as fast as the broker's clock does, since their first one.

    Only the first of those that are appended together tells a pace: a gateway may collect readings for a while.
    """

    event_s: float
    append_s: float
    judged_s: float  # append time of the newest reading that told a pace
    count: int = 1

    @classmethod
    def begin(cls, event_s: float, append_s: float) -> "Stretch":
        return cls(event_s, append_s, append_s)

    def extended(self, event_s: float, append_s: float) -> "Stretch":
        """One reading longer; a new one where this reading is not at pace."""
        if append_s - self.judged_s < TOGETHER_S:
            return replace(self, count=self.count + 1)
        passed = append_s - self.append_s
        if event_s > self.event_s and abs((event_s - self.event_s) - passed) <= PACE_TOLERANCE_S + 0.1 * passed:
            return replace(self, judged_s=append_s, count=self.count + 1)
        return Stretch.begin(event_s, append_s)

    def proves_step_back(self, event_s: float, append_s: float) -> bool:
        """Enough readings over enough time, and both clocks agree on how much passed."""
        passed = append_s - self.append_s
        is_at_pace = abs((event_s - self.event_s) - passed) <= 0.5 * passed
        return self.count >= STEPPED_BACK_READINGS and passed >= STEPPED_BACK_S and is_at_pace


@dataclass(slots=True)
class MachineClock:
    """Tells for each reading its effective time and its place. Times are seconds since the epoch."""

    is_skewed: bool = False
    newest_s: float | None = None  # effective time of the newest reading in order
    _event_s: float = 0.0
    _append_s: float = 0.0
    _off: Stretch | None = None  # while the clock is far off
    _back: Stretch | None = None  # while readings come before the newest one

    @property
    def skew_s(self) -> float:
        """How far the machine's clock is ahead of the broker's, by the newest reading in order."""
        return self._event_s - self._append_s

    def is_older_than(self, append_s: float) -> bool:
        """Whether the newest reading in order was appended before."""
        return self.newest_s is not None and self._append_s < append_s

    def fork(self) -> "MachineClock":
        return MachineClock(self.is_skewed, self.newest_s, self._event_s, self._append_s, self._off, self._back)

    def place(self, event_s: float, append_s: float) -> tuple[float, Place]:
        """The effective time of a reading, s, and where it belongs."""
        was_skewed, self.is_skewed = self.is_skewed, self._proves_skew(event_s, append_s)
        effective_s = append_s if self.is_skewed else event_s
        place = self._place(effective_s, event_s, append_s, changed=was_skewed != self.is_skewed)
        if place in ("next", "jumped"):
            self.newest_s, self._event_s, self._append_s, self._back = effective_s, event_s, append_s, None
        return effective_s, place

    def _place(self, effective_s: float, event_s: float, append_s: float, *, changed: bool) -> Place:
        if self.newest_s is None:
            return "next"
        if changed or self._stepped_ahead(event_s, append_s):
            return "jumped"
        # What the broker appends together has one append time: there the machine's own clock tells the order.
        if (effective_s, event_s) > (self.newest_s, self._event_s):
            return "next"
        if self._stepped_back(event_s, append_s):
            return "jumped"
        return "recent" if effective_s >= self.newest_s - RECENT_S else "old"

    def _proves_skew(self, event_s: float, append_s: float) -> bool:
        """Far off, and at append pace for a minute. Faster is a backlog or an accelerated run: late, not skewed."""
        if abs(event_s - append_s) <= SKEW_S:
            self._off = None
            return False
        self._off = self._off.extended(event_s, append_s) if self._off else Stretch.begin(event_s, append_s)
        return append_s - self._off.append_s >= SKEW_PROVED_S

    def _stepped_ahead(self, event_s: float, append_s: float) -> bool:
        """The clock leapt further than time passed and now runs ahead of the broker's: no gap in the readings."""
        leap_s = (event_s - self._event_s) - (append_s - self._append_s)
        return not self.is_skewed and leap_s > SKEW_PROVED_S and event_s > append_s + RECENT_S

    def _stepped_back(self, event_s: float, append_s: float) -> bool:
        """Several readings in a row before the newest, advancing as time does: the clock was set back.

        A flushed backlog advances faster and one late reading does not advance, so neither empties a window.
        """
        self._back = self._back.extended(event_s, append_s) if self._back else Stretch.begin(event_s, append_s)
        return self._back.proves_step_back(event_s, append_s)
