"""What counts as a gap between the offsets consumed and the rows stored, and how health tells it."""

import pytest

from pdm.ingestor.reconciliation import describe, gap_records
from pdm.store.progress import Account


@pytest.mark.parametrize(
    ("account", "committed", "gap"),
    [
        (None, 100, 0),
        (Account(100, 0), 100, 0),
        (Account(120, 0), 100, 0),  # stored, not yet committed
        (Account(100, 0), 130, 30),  # committed before it was stored
        (Account(100, 7), 100, 7),
        (Account(100, -7), 101, 8),  # counted twice is as wrong
    ],
)
def test_gap_records(account: Account | None, committed: int, gap: int) -> None:
    assert gap_records(account, committed) == gap


def test_health_names_the_partitions() -> None:
    assert describe({0: 0, 3: 0}) == "every offset of 2 partitions is accounted for"
    assert describe({}) == "no offset is committed yet"
    assert "5 in partition 3" in describe({0: 0, 3: 5})
