"""Background work of the ingestor: days made and dropped, minutes rolled up, old rows deleted. Each is one turn."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from pdm.config import IngestorSettings
from pdm.store.minutes import roll_up
from pdm.store.partitions import drop_expired, ensure_partitions
from pdm.store.pool import Pool, connect, in_slices
from pdm.store.retention import prune_dead_letters, prune_minutes

# A mark that a batch left out, because it stood already, must still stand when that batch commits: 60 s > 15 s of the
# last statement + 30 s of an idle transaction + what the clocks of two hosts may differ.
GRACE_S = 60
MINUTES_AT_ONCE = 1_000
DAYS_TIMEOUT_S = 300.0  # a day dropped is a file deleted, on a slow disk a large one

log = structlog.get_logger()


def keep_partitions(conninfo: str, settings: IngestorSettings, now: Callable[[], datetime]) -> None:
    """Raises Retryable, also when a drop must wait for older transactions."""
    today = now().date()
    with connect(conninfo, "pdm.ingestor.upkeep", answer_timeout_s=DAYS_TIMEOUT_S) as conn:
        ensure_partitions(conn, today, ahead=settings.partitions_ahead)
        if dropped := drop_expired(conn, today, settings.retention_days):
            log.info("ingestor.days_dropped", days=[day.isoformat() for day in dropped])


def roll_up_closed(pool: Pool, now: Callable[[], datetime]) -> None:
    """Compute every due minute that ended GRACE_S ago or earlier. Raises Retryable."""
    before = now() - timedelta(minutes=1, seconds=GRACE_S)
    in_slices(pool, lambda conn, size: roll_up(conn, before, size), MINUTES_AT_ONCE)


def drop_old_minutes(pool: Pool, settings: IngestorSettings, now: Callable[[], datetime]) -> None:
    """Raises Retryable; what a turn leaves the next one takes."""
    time, days = now(), settings.minute_retention_days
    _told("minutes", in_slices(pool, lambda conn, size: prune_minutes(conn, time, days, size)))


def drop_old_letters(pool: Pool, settings: IngestorSettings, now: Callable[[], datetime]) -> None:
    """Raises Retryable; what a turn leaves the next one takes."""
    time, days = now(), settings.dead_letter_retention_days
    _told("dead letters", in_slices(pool, lambda conn, size: prune_dead_letters(conn, time, days, size)))


def _told(what: str, rows: int) -> None:
    if rows:
        log.info("ingestor.expired_deleted", what=what, rows=rows)
