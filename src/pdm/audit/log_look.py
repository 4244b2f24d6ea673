"""L, D and O: reads the log partition by partition and compares each with the tables before it takes the next."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from pdm.audit.findings import Scope, Sent, Tally
from pdm.audit.offsets import check_progress
from pdm.audit.readings import EPOCH_MS, EVER_US, LAST_US, Part, Slice, explain, tell_unexplained, to_us
from pdm.config import RAW_TOPIC, Settings, consumer_group
from pdm.store import audit_readings
from pdm.store.pool import Connection
from pdm.topics import committed_offsets, log_spans, read_span

GROUP = consumer_group("ingestor")

Span = tuple[int, int]


@dataclass(slots=True)
class LogLook:
    settings: Settings
    main: Connection
    scope: Scope
    ledger: Sequence[Sent] | None
    tally: Tally
    on_progress: Callable[[str, int], None]
    _unexplained: dict[str, set[int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _starts_us: list[int] = field(default_factory=list)
    _done: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    async def run(self) -> dict[str, int]:
        """Returns counts. Holds one partition's keys at a time."""
        kafka = self.settings.kafka
        self._counts = dict.fromkeys(("records", "readings", "rows", "dead_letters", "waiting", "ledger"), 0)
        committed = await committed_offsets(kafka, GROUP, RAW_TOPIC)
        await self._check_progress(committed)
        now = await asyncio.to_thread(audit_readings.now_utc, self.main)
        gaps = await asyncio.to_thread(audit_readings.log_gaps, self.main, GROUP, RAW_TOPIC)
        spans = await log_spans(kafka, RAW_TOPIC, self.scope.since)
        ledger = self._ledger_by_partition()
        for number in sorted(spans.keys() | ledger.keys()):
            begin, end = spans.get(number, (0, 0))
            part = Part(number, begin, _cut(committed.get(number), begin, end), end, gaps.get(number, ()))
            await self._check_part(part, ledger.get(number, ()), self._kept_from_us(now))
        await self._settle_unexplained(spans)
        return self._counts

    async def _check_progress(self, committed: dict[int, int]) -> None:
        progress = await asyncio.to_thread(audit_readings.ingest_progress, self.main, RAW_TOPIC)
        check_progress(committed, progress, self.tally)
        self._counts["accounts"] = len(progress)

    def _kept_from_us(self, now: datetime) -> int:
        """The ingestor drops the days before."""
        first = now.date() - timedelta(days=self.settings.ingestor.retention_days)
        return to_us(datetime.combine(first, time(), now.tzinfo))

    def _ledger_by_partition(self) -> dict[int, list[Sent]]:
        found: dict[int, list[Sent]] = {}
        for sent in self.ledger or ():
            if sent.machine_id.startswith(self.scope.prefix):
                found.setdefault(sent.partition, []).append(sent)
                self._counts["ledger"] += 1
        return found

    async def _check_part(self, part: Part, ledger: Sequence[Sent], kept_from_us: int) -> None:
        letters = await asyncio.to_thread(audit_readings.dead_letter_places, self.main, RAW_TOPIC, part.number)
        # A ledger tells all that was sent of its scope, unless the scope is the plant and the plant older than the log.
        is_whole = self.ledger is not None and bool(self.scope.prefix or part.begin == 0) and not part.gaps
        piece = Slice(part, self.scope.prefix, letters, kept_from_us, is_whole, self.tally)
        piece.await_ledger(ledger)
        async for batch in read_span(self.settings.kafka, RAW_TOPIC, part.number, part.begin, part.end):
            for record in batch:
                piece.take(record.offset, record.timestamp, record.key, record.value)
            self._done += len(batch)
            self.on_progress("records", self._done)
        self._counts["waiting"] += piece.take_ledger(ledger)
        await asyncio.to_thread(self._take_rows, piece)
        piece.settle()
        self._remember(piece)

    def _take_rows(self, piece: Slice) -> None:
        machine_ids, count = piece.machine_ids, 0
        for first_us, last_us in piece.ranges():
            for row in audit_readings.rows_between(self.main, machine_ids, first_us, last_us):
                piece.take_row(row)
                count += 1
        self._counts["rows"] += count

    def _remember(self, piece: Slice) -> None:
        for machine_id, times in piece.unexplained.items():
            self._unexplained.setdefault(machine_id, set()).update(times)
        self._seen.update(piece.machine_ids)
        if piece.is_whole:
            self._starts_us.append(EVER_US)
        elif piece.first_ms is not None:
            self._starts_us.append((piece.first_ms - EPOCH_MS) * 1000)
        self._counts["records"] += piece.records
        self._counts["readings"] += piece.readings
        self._counts["dead_letters"] += piece.set_aside

    async def _settle_unexplained(self, spans: dict[int, Span]) -> None:
        """Rows may come from records appended meanwhile, from another partition, or from a replayed dead letter."""
        await asyncio.to_thread(self._take_unseen)
        if self._unexplained:
            newer = await log_spans(self.settings.kafka, RAW_TOPIC)
            await self._explain({number: (spans.get(number, (0, 0))[1], end) for number, (_, end) in newer.items()})
        if self._unexplained:
            await self._explain(spans)
        if self._unexplained:
            await asyncio.to_thread(self._explain_by_replays)
        tell_unexplained(self._unexplained, self.tally)

    def _take_unseen(self) -> None:
        """Rows of machines that the log does not know at all; judged only where all of the log was read."""
        if self.scope.since is not None or not self._starts_us:
            return
        unseen = sorted(set(audit_readings.machines_stored(self.main, self.scope.prefix)) - self._seen)
        if unseen:
            for row in audit_readings.rows_between(self.main, unseen, max(self._starts_us), LAST_US):
                self._unexplained.setdefault(row[0], set()).add(row[1])

    async def _explain(self, spans: dict[int, Span]) -> None:
        for number, (begin, end) in spans.items():
            async for batch in read_span(self.settings.kafka, RAW_TOPIC, number, begin, end):
                for record in batch:
                    explain(self._unexplained, record.key, record.value)
                self.on_progress("records once more", len(batch))

    def _explain_by_replays(self) -> None:
        for key, value in audit_readings.replayed_letters(self.main, RAW_TOPIC):
            explain(self._unexplained, key, value)


def _cut(committed: int | None, begin: int, end: int) -> int:
    """Records before it are due. An offset beyond the log's end is of a topic that was made anew: nothing is due."""
    return begin if committed is None or committed > end else max(begin, committed)
