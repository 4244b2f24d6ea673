"""The roll-up of readings by minute: which minutes are due, and their rows in `sensor_minute`.

A mark in `sensor_minute_due` is written in the transaction that stores the readings, and consumed by `roll_up`.
"""

from collections.abc import Sequence
from datetime import datetime

from pdm.events import SENSORS
from pdm.store.pool import Connection

MachineMinute = tuple[str, int]  # a machine and a minute, counted since 1970 (UTC)

# DO NOTHING would lose a mark: it passes over a row that a running roll-up is just deleting. DO UPDATE waits for it.
_MARK = """
INSERT INTO sensor_minute_due (machine_id, minute)
SELECT machine_id, to_timestamp(minute * 60) FROM unnest(%s::text[], %s::bigint[]) AS m (machine_id, minute)
ON CONFLICT (minute, machine_id) DO UPDATE SET minute = EXCLUDED.minute
"""
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT machine_id, minute FROM sensor_minute_due
    WHERE minute < %s ORDER BY minute LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM sensor_minute_due d USING due
WHERE d.minute = due.minute AND d.machine_id = due.machine_id
RETURNING d.machine_id, d.minute
"""
_STATISTICS = [f"{name}_{function}" for name in SENSORS for function in ("min", "avg", "max")]
_COMPUTE = f"""
INSERT INTO sensor_minute (machine_id, minute, n, {", ".join(_STATISTICS)})
SELECT due.machine_id, due.minute, found.*
FROM unnest(%s::text[], %s::timestamptz[]) AS due (machine_id, minute)
CROSS JOIN LATERAL (
    SELECT count(*) AS n, {", ".join(f"min({name}), avg({name}), max({name})" for name in SENSORS)}
    FROM sensor_log l
    WHERE l.machine_id = due.machine_id AND l.timestamp >= due.minute AND l.timestamp < due.minute + interval '1 minute'
) found
WHERE found.n > 0
ON CONFLICT (machine_id, minute) DO UPDATE
SET n = EXCLUDED.n, {", ".join(f"{name} = EXCLUDED.{name}" for name in _STATISTICS)}
"""  # noqa: S608  # composed of our own column names


def mark_due(conn: Connection, pairs: Sequence[MachineMinute]) -> None:
    """Have these minutes computed (again) once they are closed. `pairs` sorted, or two writers may deadlock."""
    if pairs:
        conn.execute(_MARK, [[machine_id for machine_id, _ in pairs], [minute for _, minute in pairs]])


def roll_up(conn: Connection, before: datetime, limit: int) -> int:
    """Compute up to `limit` due minutes that begin before `before`; return how many were due. The caller commits.

    Several may run at once, each takes others. Needs READ COMMITTED: the marks are taken by a statement of their own,
    so that the second one sees every reading whose mark the first has taken.
    """
    due = conn.execute(_TAKE, [before, limit]).fetchall()
    if due:
        conn.execute(_COMPUTE, [[machine_id for machine_id, _ in due], [minute for _, minute in due]])
    return len(due)
