"""Background work of the ingestor: partitions made ahead and dropped, due minutes rolled up. Each is one turn."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from pdm.config import IngestorSettings
from pdm.store.minutes import roll_up
from pdm.store.partitions import drop_expired, ensure_partitions
from pdm.store.pool import Pool, connect, transaction

# A mark that a batch left out, because it stood already, must still stand when that batch commits: 60 s > 15 s of the
# last statement + 30 s of an idle transaction + what the clocks of two hosts may differ.
GRACE_S = 60
MINUTES_AT_ONCE = 1_000

log = structlog.get_logger()


def keep_partitions(conninfo: str, settings: IngestorSettings, now: Callable[[], datetime]) -> None:
    """Raises Retryable, also when a drop must wait for older transactions."""
    today = now().date()
    with connect(conninfo, "pdm.ingestor.upkeep") as conn:
        ensure_partitions(conn, today, ahead=settings.partitions_ahead)
        if dropped := drop_expired(conn, today, settings.retention_days):
            log.info("ingestor.days_dropped", days=[day.isoformat() for day in dropped])


def roll_up_closed(pool: Pool, now: Callable[[], datetime]) -> None:
    """Compute every due minute that ended GRACE_S ago or earlier. Raises Retryable."""
    before = now() - timedelta(minutes=1, seconds=GRACE_S)
    count = MINUTES_AT_ONCE
    while count == MINUTES_AT_ONCE:
        with transaction(pool) as conn:
            count = roll_up(conn, before, MINUTES_AT_ONCE)
