"""The day partitions (UTC) of `sensor_log`: made ahead, dropped beyond retention.

Needs the rights of `pdm_ingestor`, which owns the table. Touches only tables named `sensor_log_<YYYYMMDD>`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from psycopg import sql

from pdm.store import locks
from pdm.store.pool import Connection

BEHIND_DAYS = 2  # readings this late are taken from the first day on: the log itself is kept for 48 hours
DROP_TIMEOUT_MS = 10_000  # a drop waits for older transactions; one cut short is ended at the next turn

_DAY = timedelta(days=1)

_DAYS = """
SELECT to_date(right(c.relname, 8), 'YYYYMMDD')
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'sensor_log'::regclass AND NOT i.inhdetachpending
"""
# CREATE TABLE … PARTITION OF would lock the parent against every COPY; ATTACH does not, and the CHECK spares its scan.
# A table that a crash left between DETACH and DROP is attached again.
_MAKE = sql.SQL("""
CREATE TABLE IF NOT EXISTS {name} (LIKE sensor_log INCLUDING ALL);
ALTER TABLE {name} ADD CONSTRAINT within_day CHECK (timestamp >= {first} AND timestamp < {end});
ALTER TABLE sensor_log ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end});
ALTER TABLE {name} DROP CONSTRAINT within_day;
""")
# `least` with the server's date: one wrong clock among the two never drops a day too early.
_EXPIRED = """
SELECT c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
       CASE WHEN i.inhrelid IS NULL THEN 'detached' WHEN i.inhdetachpending THEN 'pending' ELSE 'attached' END
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'sensor_log'::regclass
WHERE c.relkind = 'r' AND c.relname ~ '^sensor_log_[0-9]{8}$'
  AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'sensor_log'::regclass)
  AND to_date(right(c.relname, 8), 'YYYYMMDD')
      < least(%(today)s, (now() AT TIME ZONE 'UTC')::date) - %(retention_days)s::int
ORDER BY (i.inhdetachpending IS TRUE) DESC, day
"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The times that `sensor_log` takes: from `first` up to, not including, `end`."""

    first: datetime
    end: datetime


def ensure_partitions(conn: Connection, today: date, *, ahead: int, behind: int = BEHIND_DAYS) -> Bounds:
    """Make the missing days from `today` − `behind` to `today` + `ahead`; return the unbroken run of days around them.

    Safe when many do it at once; where nothing is missing it is one look into the catalogue.
    """
    wanted = list(_days_between(today - behind * _DAY, today + ahead * _DAY))
    days = _existing_days(conn)
    if not days.issuperset(wanted):
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [locks.MAKE_PARTITIONS])
            days = _existing_days(conn)
            for day in wanted:
                if day not in days:
                    _make(conn, day)
        days.update(wanted)
    return _run_around(today, days)


def days_ahead(conn: Connection, today: date) -> int:
    """How many days after `today` follow without a hole; -1: not even today has a partition."""
    day, days = today, _existing_days(conn)
    while day in days:
        day += _DAY
    return (day - today).days - 1


def drop_expired(conn: Connection, today: date, retention_days: int) -> list[date]:
    """Drop the days that ended more than `retention_days` before `today`; return them. Needs an autocommit connection.

    Raises Retryable when older transactions hold a day for longer than DROP_TIMEOUT_MS. Does nothing while another
    replica is at it.
    """
    conn.execute(sql.SQL("SET statement_timeout = {}").format(DROP_TIMEOUT_MS))
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", [locks.DROP_PARTITIONS]).fetchone()
    if row is None or not row[0]:
        return []
    try:
        rows = conn.execute(_EXPIRED, {"today": today, "retention_days": retention_days}).fetchall()
        for name, _, state in rows:
            _drop(conn, sql.Identifier(name), state)
        return [day for _, day, _ in rows]
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", [locks.DROP_PARTITIONS])


def _drop(conn: Connection, name: sql.Identifier, state: Literal["attached", "pending", "detached"]) -> None:
    if state != "detached":
        how = sql.SQL("CONCURRENTLY" if state == "attached" else "FINALIZE")
        conn.execute(sql.SQL("ALTER TABLE sensor_log DETACH PARTITION {} {}").format(name, how))
    conn.execute(sql.SQL("DROP TABLE {}").format(name))


def _make(conn: Connection, day: date) -> None:
    name = sql.Identifier(f"sensor_log_{day:%Y%m%d}")
    conn.execute(_MAKE.format(name=name, first=sql.Literal(_midnight(day)), end=sql.Literal(_midnight(day + _DAY))))


def _existing_days(conn: Connection) -> set[date]:
    return {day for (day,) in conn.execute(_DAYS)}


def _run_around(today: date, days: set[date]) -> Bounds:
    first = last = today
    while first - _DAY in days:
        first -= _DAY
    while last + _DAY in days:
        last += _DAY
    return Bounds(_midnight(first), _midnight(last + _DAY))


def _days_between(first: date, last: date) -> Iterator[date]:
    return (first + number * _DAY for number in range((last - first).days + 1))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
