"""`pdm doctor --deep`: the audit in doctor's own words."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from pdm.cli.output import console
from pdm.config import Settings
from pdm.errors import PdmError

if TYPE_CHECKING:
    from pdm.audit import Audit
    from pdm.doctor import Finding

PARTS = {"L": "nothing lost", "D": "nothing doubled", "O": "offsets follow", "A": "alert chain", "F": "features"}
ADVICE = {
    "L": "Does the ingestor's log tell of errors? What is still on the topic is stored again if its group is reset.",
    "D": "Did anybody else write into the databases? docs/architecture/delivery.md says who may.",
    "O": "Stop the ingestor and reset its group to ingest_progress.next_offset: what is read twice is stored once.",
    "A": "See `slot`, `connector` and the roles above; a relay that starts over sends every row of the outbox again.",
    "F": "The machine's next reading writes its features anew; if not, the log of inference tells why.",
}

OnProgress = Callable[[str, int], None]


def look_deep(
    settings: Settings, since: datetime | None, prefix: str, *, is_progress_shown: bool
) -> tuple[list["Finding"], dict[str, int]]:
    """Findings and counts. An engine that is away is a finding, as for every other look."""
    from pdm.audit import Scope, audit
    from pdm.doctor import Finding

    try:
        with _progress(is_shown=is_progress_shown) as on_progress:
            found = asyncio.run(audit(settings, Scope(prefix, since), on_progress=on_progress))
    except PdmError as error:
        return [Finding("deep look", "wrong", str(error), error.hint)], {}
    return _findings(found), found.counts


def _findings(found: "Audit") -> list["Finding"]:
    from pdm.doctor import Finding

    findings = []
    for check, part in PARTS.items():
        wrong = [finding for finding in found.findings if finding.check == check]
        for number, finding in enumerate(wrong):
            detail = " · ".join(
                text
                for text in (finding.what, finding.machine_id, finding.at.isoformat() if finding.at else "")
                if text
            )
            findings.append(Finding(part, "wrong", detail, ADVICE[check] if number == len(wrong) - 1 else ""))
        if not wrong:
            findings.append(Finding(part, "ok", _looked_at(check, found.counts)))
    return findings


def _looked_at(check: str, counts: dict[str, int]) -> str:
    if check == "L":
        records, readings, letters = counts["records"], counts["readings"], counts["dead_letters"]
        return f"{records:,} records of the log: {readings:,} readings, {letters:,} set aside"
    if check == "D":
        return f"{counts['rows']:,} rows of sensor_log"
    if check == "O":
        return f"{counts['accounts']:,} partitions add up" if counts["accounts"] else "no ingestor has kept account yet"
    if check == "A":
        waiting = f", {counts['notifications_pending']:,} to be sent" if counts["notifications_pending"] else ""
        return (
            f"{counts['episodes']:,} episodes, {counts['events']:,} events, "
            f"{counts['notifications']:,} notifications{waiting}"
        )
    return f"{counts['machines']:,} machines"


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[OnProgress]:
    """One line that tells how far it is, on a terminal only."""
    if not is_shown or not console.is_terminal:
        yield lambda _stage, _count: None
        return
    with console.status("…") as status:
        yield lambda stage, count: status.update(f"{stage}: {count:,}")
