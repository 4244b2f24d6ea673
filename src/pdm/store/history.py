"""Readings as people look at them: pages of `sensor_log`, newest first. Reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from pdm.store.pool import Connection

_COLUMNS = (
    """machine_id, timestamp, air_temp_k, process_temp_k, rpm, torque_nm, tool_wear_min, product_type, channels"""
)
_PAGE = f"""
    SELECT {_COLUMNS} FROM sensor_log
    WHERE machine_id = %(machine_id)s
        AND timestamp >= coalesce(%(since)s::timestamptz, '-infinity')
        AND timestamp < coalesce(%(until)s::timestamptz, 'infinity')
    ORDER BY timestamp DESC LIMIT %(limit)s
"""  # noqa: S608  # fixed columns
_NEWEST = f"""
    SELECT r.* FROM unnest(%s::text[]) AS wanted (id)
    CROSS JOIN LATERAL (SELECT {_COLUMNS} FROM sensor_log WHERE machine_id = wanted.id
        ORDER BY timestamp DESC LIMIT 1) r
"""  # noqa: S608  # fixed columns


@dataclass(frozen=True, slots=True)
class StoredReading:
    """One row of `sensor_log`: the first value of its (machine, timestamp)."""

    machine_id: str
    timestamp: datetime
    air_temp_k: float | None
    process_temp_k: float | None
    rpm: float | None
    torque_nm: float | None
    tool_wear_min: float | None
    product_type: str | None
    channels: dict[str, Any] | None


def readings_page(
    conn: Connection, machine_id: str, since: datetime | None, until: datetime | None, limit: int
) -> list[StoredReading]:
    """The newest `limit` readings with since ≤ timestamp < until."""
    with conn.cursor(row_factory=class_row(StoredReading)) as cursor:
        cursor.execute(_PAGE, {"machine_id": machine_id, "since": since, "until": until, "limit": limit})
        return cursor.fetchall()


def newest_readings(conn: Connection, machine_ids: Iterable[str]) -> dict[str, StoredReading]:
    """The newest reading, by its own time, of each machine that has one."""
    with conn.cursor(row_factory=class_row(StoredReading)) as cursor:
        cursor.execute(_NEWEST, [list(machine_ids)])
        return {reading.machine_id: reading for reading in cursor}
