"""The machines as people look at them: every row of `machine` with its open episode. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from pdm.events import VERIFY_PREFIX
from pdm.store.pool import Connection

_MACHINES = """
    SELECT m.machine_id, m.site, m.machine_group, m.product_type, m.first_seen,
        h.episode_id, h.severity, h.failure_type, h.opened_at, h.reasons
    FROM machine m LEFT JOIN anomaly_history h ON h.machine_id = m.machine_id AND h.closed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class KnownMachine:
    """A machine and its open episode; the last five are None while there is none."""

    machine_id: str
    site: str | None
    machine_group: str | None
    product_type: str | None
    first_seen: datetime
    episode_id: UUID | None
    severity: str | None
    failure_type: str | None
    opened_at: datetime | None
    reasons: list[str] | None


def known_machines(conn: Connection, after: str, limit: int) -> list[KnownMachine]:
    """In id order, ids beyond `after`; machines of check runs are no part of the fleet."""
    with conn.cursor(row_factory=class_row(KnownMachine)) as cursor:
        cursor.execute(
            _MACHINES + " WHERE m.machine_id > %s AND NOT starts_with(m.machine_id, %s) ORDER BY 1 LIMIT %s",
            [after, VERIFY_PREFIX, limit],
        )
        return cursor.fetchall()


def find_machines(conn: Connection, machine_ids: Sequence[str]) -> list[KnownMachine]:
    with conn.cursor(row_factory=class_row(KnownMachine)) as cursor:
        cursor.execute(_MACHINES + " WHERE m.machine_id = ANY(%s)", [list(machine_ids)])
        return cursor.fetchall()
