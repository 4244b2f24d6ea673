"""The order of things for one batch: decode, write with retries in a thread, count."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pdm import crash, metrics
from pdm.broker import Batch
from pdm.config import RAW_TOPIC
from pdm.gap_watch import tell_gaps
from pdm.ingestor.decode import Decoded, decode_batch
from pdm.ingestor.writer import Written
from pdm.retry import within_budget

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Handler:
    """`write` stores a decoded batch; it may block and raise Retryable."""

    write: Callable[[Decoded], Written]

    async def __call__(self, batch: Batch) -> None:
        """Raises Retryable once the budget of retries is spent: the offsets then stay where they are."""
        began = time.monotonic()
        written = await asyncio.to_thread(self._store, batch)
        _count(written)
        _report(written, ms=round(1e3 * (time.monotonic() - began), 1))

    def _store(self, batch: Batch) -> Written:
        crash.reached("ingestor.after_fetch")
        decoded = decode_batch(batch)
        written = within_budget(lambda: self.write(decoded))
        crash.reached("ingestor.after_db_commit")
        return written


def _count(written: Written) -> None:
    metrics.READINGS.labels("ingestor", "stored").inc(written.stored)
    metrics.READINGS.labels("ingestor", "duplicate").inc(written.duplicates)
    metrics.READINGS.labels("ingestor", "rejected").inc(written.rejected)
    for reason, count in Counter(written.new_letters).items():
        metrics.DEAD_LETTERS.labels(reason).inc(count)
    tell_gaps("ingestor", RAW_TOPIC, written.gaps)


def _report(written: Written, ms: float) -> None:
    # A slow plant has a batch every 40 ms: only those that set records aside are news.
    tell = log.warning if written.new_letters else log.debug
    tell(
        "ingestor.batch_stored",
        rows=written.stored,
        duplicates=written.duplicates,
        rejected=written.rejected,
        ms=ms,
        **({"reasons": dict(Counter(written.new_letters))} if written.new_letters else {}),
    )
