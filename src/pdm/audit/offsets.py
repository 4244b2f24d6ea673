"""O: Kafka's committed offsets against the ingestor's own account of what it stored. Pure."""

from collections.abc import Mapping, Sequence

from pdm.audit.findings import Tally
from pdm.store.audit_readings import Progress


def check_progress(committed: Mapping[int, int], progress: Sequence[Progress], tally: Tally) -> None:
    """`committed` was read before `progress`."""
    for row in progress:
        place = f"partition {row.partition}"
        offset = committed.get(row.partition, 0)
        if offset > row.next_offset:
            detail = f"{place}, committed {offset:,}, stored up to {row.next_offset:,}"
            tally.add("O", "the committed offset leads what is stored", detail=detail)
        accounted = row.stored + row.duplicates + row.dead_letters + row.vanished
        if row.next_offset - row.from_offset != accounted:
            detail = f"{place}, {row.next_offset - row.from_offset:,} consumed, {accounted:,} accounted for"
            tally.add("O", "offsets consumed are not all accounted for", detail=detail)
    told = {row.partition for row in progress}
    for partition, offset in sorted(committed.items()):
        if progress and offset > 0 and partition not in told:
            tally.add("O", "a committed partition has no account", detail=f"partition {partition}")
