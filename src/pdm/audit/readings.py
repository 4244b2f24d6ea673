"""L and D of readings: what one partition of the log says must be stored, against what is. Pure.

Times are µs since 2000, as PostgreSQL keeps them. Values are compared by a fingerprint that holds inside one process.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pdm.audit.findings import Sent, Tally
from pdm.errors import BadRecord
from pdm.events import Reading, decode_reading

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_MS = int(EPOCH.timestamp() * 1000)
HOUR_US = 3_600_000_000

Range = tuple[int, int]
Places = Mapping[tuple[int, int], str]
"""Dead letters of one partition: offset and append time, ms, to reason."""


def to_us(at: datetime) -> int:
    passed = at - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def from_us(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def fingerprint(values: Sequence[Any]) -> int:
    """Of the five sensors, product type and channels, in the order of `sensor_log`."""
    channels = values[6]
    return hash((*values[:6], None if channels is None else frozenset(channels.items())))


EVER_US = to_us(datetime.min.replace(tzinfo=UTC))
LAST_US = to_us(datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Part:
    """The span of one partition. Records from `cut` on are not yet due to be stored; `end` is where the log ended."""

    number: int
    begin: int
    cut: int
    end: int
    gaps: Sequence[Range] = ()  # as log_gap notes them: first, and one past the last or 0 where nobody knows it

    def has_gap_at(self, offset: int) -> bool:
        return any(first <= offset and (offset < end or end == 0) for first, end in self.gaps)


@dataclass(slots=True)
class Slice:
    """One partition's demands. Take the records in order, then the ledger, then the rows; then settle."""

    part: Part
    prefix: str
    letters: Places
    kept_from_us: int  # readings before it are beyond retention
    is_whole: bool  # the span holds all that was ever sent: each row of its machines must come from it
    tally: Tally
    due: dict[str, dict[int, int | None]] = field(default_factory=dict)  # machine, time: fingerprint; None: any values
    known: dict[str, set[int]] = field(default_factory=dict)  # may be stored, need not: set aside, not yet consumed
    unmatched: set[tuple[int, int]] = field(default_factory=set)
    lead_us: dict[str, int] = field(default_factory=dict)  # how far a machine's clock was ahead at most
    waiting: dict[int, tuple[str, int]] = field(default_factory=dict)
    unexplained: dict[str, set[int]] = field(default_factory=dict)
    first_ms: int | None = None
    records: int = 0
    readings: int = 0
    set_aside: int = 0

    def __post_init__(self) -> None:
        self.unmatched = {place for place in self.letters if self.part.begin <= place[0] < self.part.cut}

    def take(self, offset: int, appended_ms: int, key: bytes | None, value: bytes | None) -> None:
        """One record of the log, of the scope or not."""
        if self.first_ms is None:
            self.first_ms = appended_ms
        try:
            reading = decode_reading(key, value)
        except BadRecord as error:
            if (key or b"").startswith(self.prefix.encode()):
                self._take_bad(offset, appended_ms, key, error)
            self.unmatched.discard((offset, appended_ms))
            return
        self.unmatched.discard((offset, appended_ms))
        if not reading.machine_id.startswith(self.prefix):
            return
        self.records += 1
        self._take_good(reading, offset, appended_ms)

    def _take_bad(self, offset: int, appended_ms: int, key: bytes | None, error: BadRecord) -> None:
        self.records += 1
        if (offset, appended_ms) in self.letters:
            self.set_aside += 1
        elif offset < self.part.cut:
            machine_id = (key or b"").decode(errors="replace")
            place = f"partition {self.part.number} offset {offset}, {error.reason}"
            self.tally.add("L", "a bad record is not in dead_letter", machine_id, _of_ms(appended_ms), place)

    def _take_good(self, reading: Reading, offset: int, appended_ms: int) -> None:
        self.readings += 1
        machine_id, at_us = reading.machine_id, to_us(reading.timestamp)
        lead_us = at_us - (appended_ms - EPOCH_MS) * 1000
        if lead_us > self.lead_us.get(machine_id, EVER_US):
            self.lead_us[machine_id] = lead_us
        if offset >= self.part.cut:
            self.known.setdefault(machine_id, set()).add(at_us)
            if self.waiting.get(offset) == (machine_id, at_us):
                del self.waiting[offset]
        elif self.letters and (offset, appended_ms) in self.letters:
            self.set_aside += 1
            self.known.setdefault(machine_id, set()).add(at_us)
        elif at_us < self.kept_from_us:
            self.known.setdefault(machine_id, set()).add(at_us)
        else:
            self._demand(reading, at_us, offset)

    def _demand(self, reading: Reading, at_us: int, offset: int) -> None:
        mark = fingerprint((*reading.sensor_values(), reading.product_type, reading.channels))
        first = self.due.setdefault(reading.machine_id, {}).setdefault(at_us, mark)
        if first != mark:
            text = "another value of a stored reading is not in dead_letter"
            place = f"partition {self.part.number} offset {offset}"
            self.tally.add("L", text, reading.machine_id, reading.timestamp, place)

    def await_ledger(self, ledger: Iterable[Sent]) -> None:
        """Before the records: those sent beyond the cut must at least stand on the topic."""
        cut = self.part.cut
        self.waiting = {sent.offset: (sent.machine_id, to_us(sent.timestamp)) for sent in ledger if sent.offset >= cut}

    def take_ledger(self, ledger: Iterable[Sent]) -> int:
        """After the records: what was acknowledged must be stored, wherever the log is now; returns how many wait."""
        lettered = {offset for offset, _ in self.letters}
        count = 0
        for sent in ledger:
            at_us = to_us(sent.timestamp)
            if sent.offset >= self.part.cut and sent.offset not in self.waiting:
                count += 1
            elif at_us < self.kept_from_us or sent.offset in lettered or self.part.has_gap_at(sent.offset):
                self.known.setdefault(sent.machine_id, set()).add(at_us)
            elif not self._has(sent.machine_id, at_us):
                self.is_whole = False  # the log has lost it, so it may have lost others that nobody acknowledged
                self.due.setdefault(sent.machine_id, {})[at_us] = None
        return count

    def _has(self, machine_id: str, at_us: int) -> bool:
        return at_us in self.due.get(machine_id, ()) or at_us in self.known.get(machine_id, ())

    def ranges(self) -> list[Range]:
        """The hours to read from `sensor_log`, joined where they touch; both ends belong to them."""
        if self.is_whole:
            return [(EVER_US, LAST_US)]
        hours = sorted({at_us // HOUR_US for times in self.due.values() for at_us in times})
        joined: list[Range] = []
        for hour in hours:
            first, last = hour * HOUR_US, (hour + 1) * HOUR_US - 1
            if joined and joined[-1][1] + 1 == first:
                first = joined.pop()[0]
            joined.append((first, last))
        return joined

    def take_row(self, row: Sequence[Any]) -> None:
        machine_id, at_us = row[0], row[1]
        times = self.due.get(machine_id)
        if times is not None and at_us in times:
            wanted = times.pop(at_us)
            if wanted is not None and wanted != fingerprint(row[2:]):
                self.tally.add("L", "sensor_log holds other values than the log", machine_id, from_us(at_us))
        elif at_us not in self.known.get(machine_id, ()) and at_us >= self._judged_from(machine_id):
            self.unexplained.setdefault(machine_id, set()).add(at_us)

    def _judged_from(self, machine_id: str) -> int:
        """An older row may come from a record that the span no longer holds."""
        if self.is_whole:
            return EVER_US
        first_us = ((self.first_ms or 0) - EPOCH_MS) * 1000
        return first_us + max(0, self.lead_us.get(machine_id, 0))

    @property
    def machine_ids(self) -> list[str]:
        return sorted(self.due.keys() | self.lead_us.keys())

    def settle(self) -> None:
        """Once every row of the ranges was taken: what is still due is lost."""
        for machine_id, at_us in self._missing():
            self.tally.add("L", "a reading is not in sensor_log", machine_id, from_us(at_us))
        first_ms = self.first_ms or 0
        for offset, appended_ms in sorted(self.unmatched):
            if appended_ms > first_ms:  # an older one is of records, or of a topic, that are gone
                place = f"partition {self.part.number} offset {offset}"
                self.tally.add("D", "dead_letter names a record that is not there", "", _of_ms(appended_ms), place)

    def _missing(self) -> Iterator[tuple[str, int]]:
        for machine_id, times in self.due.items():
            for at_us in sorted(times):
                yield machine_id, at_us


def explain(unexplained: dict[str, set[int]], key: bytes | None, value: bytes | None) -> None:
    """Take away the row that this record became."""
    try:
        reading = decode_reading(key, value)
    except BadRecord:
        return
    times = unexplained.get(reading.machine_id)
    if times is not None:
        times.discard(to_us(reading.timestamp))
        if not times:
            del unexplained[reading.machine_id]


def tell_unexplained(unexplained: Mapping[str, set[int]], tally: Tally) -> None:
    for machine_id, times in sorted(unexplained.items()):
        for at_us in sorted(times):
            tally.add("D", "sensor_log holds a reading that the log does not", machine_id, from_us(at_us))


def _of_ms(appended_ms: int) -> datetime:
    return datetime.fromtimestamp(appended_ms / 1000, UTC)
