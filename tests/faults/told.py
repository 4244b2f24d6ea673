"""How often the portal's log channel really told each event: the log itself is the witness."""

import json
from collections import Counter
from pathlib import Path


def count_told(folder: Path, prefix: str) -> int:
    """Lines too many: an event of a machine with this prefix that stands in the portals' logs more than once."""
    told: Counter[tuple[str, int]] = Counter()
    for log in folder.glob("portal-*.log*"):
        with log.open(errors="replace") as lines:
            for line in lines:
                if prefix in line and '"episode_id"' in line:
                    told.update(_told(line))
    return sum(times - 1 for times in told.values())


def _told(line: str) -> list[tuple[str, int]]:
    try:
        fields = json.loads(line)
    except ValueError:
        return []
    return [(fields["episode_id"], fields["seq"])] if "reasons" in fields else []
