"""Writes readings into `sensor_log`: the first value of a (machine_id, timestamp) wins and stays."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import astuple
from psycopg import errors as pg

from pdm import crash
from pdm.errors import Retryable
from pdm.events import Reading
from pdm.store.pool import Connection

Key = tuple[str, datetime]

_TYPES = ("text", "timestamptz", *["float8"] * 5, "text", "jsonb")  # of a reading's fields, which are the columns

# Named, so that a column which somebody adds to the table changes nothing here.
_COLUMNS = "machine_id, timestamp, air_temp_k, process_temp_k, rpm, torque_nm, tool_wear_min, product_type, channels"

_COPY = f"COPY sensor_log ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_STAGE = "CREATE TEMPORARY TABLE staged (LIKE sensor_log, place integer NOT NULL) ON COMMIT DROP"
_COPY_STAGED = f"COPY staged ({_COLUMNS}, place) FROM STDIN (FORMAT binary)"
# By key, so that two writers of the same readings wait for each other instead of deadlocking; then in log order.
_INSERT = f"""
INSERT INTO sensor_log ({_COLUMNS}) SELECT {_COLUMNS} FROM staged ORDER BY machine_id, timestamp, place
ON CONFLICT DO NOTHING
RETURNING machine_id, timestamp
"""  # noqa: S608  # our own column names
# OFFSET 0 keeps the lookup a lookup by key: without statistics of `staged` the planner might read whole days instead.
_CONFLICTING = """
SELECT s.place FROM staged s CROSS JOIN LATERAL (
    SELECT (l.air_temp_k, l.process_temp_k, l.rpm, l.torque_nm, l.tool_wear_min, l.product_type, l.channels)
        IS DISTINCT FROM
           (s.air_temp_k, s.process_temp_k, s.rpm, s.torque_nm, s.tool_wear_min, s.product_type, s.channels) AS differs
    FROM sensor_log l WHERE l.machine_id = s.machine_id AND l.timestamp = s.timestamp OFFSET 0
) found
WHERE found.differs ORDER BY s.place
"""


class MissingPartition(Retryable):
    """A reading falls into a day that `sensor_log` has no partition for (any more): look at the bounds again."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The keys stored now, and the places of those readings that contradict the one stored under their key.

    The rest had been stored before with the same values.
    """

    keys: Sequence[Key]
    conflicting: Sequence[int] = ()


def store_readings(conn: Connection, readings: Sequence[Reading]) -> Stored:
    """Write each reading once; of two with one key the earlier in the sequence counts. Idempotent.

    Raises MissingPartition. The caller commits.
    """
    try:
        try:
            with conn.transaction():
                _copy(conn, readings)
        except pg.UniqueViolation:
            return _merge(conn, readings)
    except pg.CheckViolation as error:
        raise MissingPartition(f"PostgreSQL: {error.diag.message_primary}") from error
    return Stored([(reading.machine_id, reading.timestamp) for reading in readings])


def _copy(conn: Connection, readings: Sequence[Reading]) -> None:
    with conn.cursor().copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for reading in readings:
            copy.write_row(astuple(reading))
        crash.reached("ingestor.mid_copy")


def _merge(conn: Connection, readings: Sequence[Reading]) -> Stored:
    """The way for batches that meet a stored key: about half the speed, so never the first choice."""
    conn.execute(_STAGE)
    with conn.cursor().copy(_COPY_STAGED) as copy:
        copy.set_types((*_TYPES, "int4"))
        for place, reading in enumerate(readings):
            copy.write_row((*astuple(reading), place))
    keys = conn.execute(_INSERT).fetchall()
    # A statement of its own: only a new snapshot sees what a writer that we waited for has just committed.
    return Stored(keys, [place for (place,) in conn.execute(_CONFLICTING)])
