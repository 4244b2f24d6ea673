"""Rows stored against offsets consumed, a partition: what the metric `pdm_ingest_gap_records` and health tell."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from pdm import metrics
from pdm.broker import Subscription
from pdm.config import RAW_TOPIC
from pdm.http import Health
from pdm.store.pool import Pool, transaction
from pdm.store.progress import Account, accounts


@dataclass(slots=True)
class Reconciliation:
    """Of the partitions assigned to this process, as of its newest look."""

    pool: Pool
    subscription: Subscription
    gaps: dict[int, int] = field(default_factory=dict)

    async def measure(self) -> None:
        """One look; a role does it every few seconds. Raises Retryable."""
        # Kafka first: what is stored meanwhile only moves ahead.
        committed = await self.subscription.committed_offsets()
        known = await asyncio.to_thread(self._look)
        self.gaps = {
            partition: gap_records(known.get(partition), committed) for partition, committed in committed.items()
        }
        metrics.INGEST_GAP.clear()
        for partition, records in self.gaps.items():
            metrics.INGEST_GAP.labels(str(partition)).set(records)

    async def check(self) -> Health:
        """Never makes the role unready: taking it out of service would store nothing more."""
        return Health(True, describe(self.gaps))

    def _look(self) -> Mapping[int, Account]:
        with transaction(self.pool) as conn:
            return accounts(conn, RAW_TOPIC)


def gap_records(account: Account | None, committed: int) -> int:
    """Offsets passed that no row tells of, and how far the committed offset leads what is stored."""
    if account is None:
        return 0  # nothing stored yet, so its account begins where the group had committed
    return abs(account.unaccounted) + max(0, committed - account.next_offset)


def describe(gaps: Mapping[int, int]) -> str:
    if missing := {partition: records for partition, records in sorted(gaps.items()) if records}:
        where = ", ".join(f"{records} in partition {partition}" for partition, records in missing.items())
        return f"GAP: offsets passed but not accounted for: {where}"
    if not gaps:
        return "no offset is committed yet"
    return f"every offset of {len(gaps)} partitions is accounted for"
