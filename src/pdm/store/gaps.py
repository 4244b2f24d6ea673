"""`log_gap`, in both databases, and `log_place`: what a consumer group missed, and how far it has read."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pdm.continuity import Gap, Place
from pdm.store.pool import Connection

_ADD = """
INSERT INTO log_gap (consumer_group, topic, kafka_partition, from_offset, to_offset, reason, appended_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING 1
"""
_PLACES = """
SELECT kafka_partition, next_offset, newest_appended_at FROM log_place WHERE consumer_group = %s AND topic = %s
"""
# Later in the log is later in append time first: a recreated topic counts from 0 again.
_SAVE = """
INSERT INTO log_place AS known (consumer_group, topic, kafka_partition, next_offset, newest_appended_at)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (consumer_group, topic, kafka_partition) DO UPDATE
SET next_offset = excluded.next_offset, newest_appended_at = excluded.newest_appended_at
WHERE (known.newest_appended_at, known.next_offset) < (excluded.newest_appended_at, excluded.next_offset)
"""


def add_gaps(conn: Connection, group: str, topic: str, gaps: Sequence[Gap]) -> list[Gap]:
    """Each gap once, however often it is noticed; return the new ones. The caller commits."""
    new = []
    for gap in gaps:
        values = [group, topic, gap.partition, gap.from_offset, gap.to_offset, gap.reason, gap.appended_at]
        if conn.execute(_ADD, values).fetchone() is not None:
            new.append(gap)
    return new


def load_places(conn: Connection, group: str, topic: str) -> dict[int, Place]:
    return {
        partition: Place(next_offset, round(newest.timestamp() * 1000))
        for partition, next_offset, newest in conn.execute(_PLACES, [group, topic])
    }


def save_places(conn: Connection, group: str, topic: str, places: Mapping[int, Place]) -> None:
    """A place behind the one that is kept, such as a stale owner's, changes nothing. The caller commits."""
    for partition, place in sorted(places.items()):
        if place.newest_ms is not None:
            newest_at = datetime.fromtimestamp(place.newest_ms / 1000, UTC)
            conn.execute(_SAVE, [group, topic, partition, place.next_offset, newest_at])
