"""The committed offset never leads what is stored, and every offset consumed is accounted for."""

from collections.abc import Mapping

import pytest

from pdm.audit.findings import Tally
from pdm.audit.offsets import check_progress
from pdm.store.audit_readings import Progress

WELL = Progress(0, from_offset=10, next_offset=110, stored=90, duplicates=4, dead_letters=5, vanished=1)


@pytest.mark.parametrize(
    ("committed", "progress", "wanted"),
    [
        ({0: 110}, [WELL], []),
        ({0: 60}, [WELL], []),  # a batch is stored, its offset not yet committed
        ({0: 111}, [WELL], ["the committed offset leads what is stored: partition 0, committed 111, stored up to 110"]),
        (
            {0: 110},
            [Progress(0, 10, 110, 90, 4, 5, 0)],
            ["offsets consumed are not all accounted for: partition 0, 100 consumed, 99 accounted for"],
        ),
        ({0: 110, 1: 5}, [WELL], ["a committed partition has no account: partition 1"]),
        ({0: 110}, [], []),  # no ingestor has kept account yet
    ],
)
def test_account(committed: Mapping[int, int], progress: list[Progress], wanted: list[str]) -> None:
    tally = Tally()
    check_progress(committed, progress, tally)
    assert [(finding.check, finding.what) for finding in tally.findings()] == [("O", what) for what in wanted]
