"""Deletes what is beyond retention from `sensor_minute`, `dead_letter` and `outbox`, a slice at a time.

`least` with the server's clock: one wrong clock of the two deletes nothing too early.
"""

from datetime import datetime

from pdm.store.pool import Connection

# From machine to machine through the key: where nothing has expired it reads one row a machine, not the table.
_MINUTES = """
WITH RECURSIVE machine (id) AS (
    SELECT min(machine_id) FROM sensor_minute
    UNION ALL
    SELECT (SELECT min(machine_id) FROM sensor_minute WHERE machine_id > machine.id) FROM machine WHERE id IS NOT NULL
), expired AS (
    SELECT old.* FROM machine CROSS JOIN LATERAL (
        SELECT machine_id, minute FROM sensor_minute
        WHERE machine_id = machine.id AND minute < least(%(now)s, now()) - make_interval(days => %(keep_days)s)
        ORDER BY minute LIMIT %(limit)s
    ) old LIMIT %(limit)s
)
DELETE FROM sensor_minute USING expired
WHERE sensor_minute.machine_id = expired.machine_id AND sensor_minute.minute = expired.minute
"""
_DEAD_LETTERS = """
DELETE FROM dead_letter WHERE id = ANY (ARRAY(
    SELECT id FROM dead_letter WHERE received_at < least(%(now)s, now()) - make_interval(days => %(keep_days)s)
    ORDER BY received_at LIMIT %(limit)s))
"""
_OUTBOX = """
DELETE FROM outbox WHERE id = ANY (ARRAY(
    SELECT id FROM outbox WHERE created_at < least(%(now)s, now()) - make_interval(days => %(keep_days)s)
    ORDER BY created_at LIMIT %(limit)s))
"""


def prune_minutes(conn: Connection, now: datetime, keep_days: int, limit: int) -> int:
    """At most `limit` rows; returns how many. The caller commits."""
    return conn.execute(_MINUTES, {"now": now, "keep_days": keep_days, "limit": limit}).rowcount


def prune_dead_letters(conn: Connection, now: datetime, keep_days: int, limit: int) -> int:
    """By the time they were received, replayed or not. At most `limit` rows; returns how many. The caller commits."""
    return conn.execute(_DEAD_LETTERS, {"now": now, "keep_days": keep_days, "limit": limit}).rowcount


def prune_outbox(conn: Connection, now: datetime, keep_days: int, limit: int) -> int:
    """Rows that every relay has long passed on. At most `limit`; returns how many. The caller commits."""
    return conn.execute(_OUTBOX, {"now": now, "keep_days": keep_days, "limit": limit}).rowcount
