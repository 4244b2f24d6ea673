"""What the audit is asked and what it answers. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Check = Literal["L", "D", "O", "A", "F"]
"""L: nothing lost. D: nothing doubled. O: offsets never lead the database. A: the alert chain. F: features."""

TOLD_A_KIND = 5  # findings told one by one; the rest of their kind is summed up in one more


@dataclass(frozen=True, slots=True)
class Sent:
    """One send that Kafka acknowledged, and the place it was given."""

    machine_id: str
    timestamp: datetime
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """One true fault of a machine, by its readings' own time. `ended_at` None: it lasts."""

    machine_id: str
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What to look at: machines whose id begins with `prefix`, records appended from `since` on (None: all)."""

    prefix: str = ""
    since: datetime | None = None
    channels: tuple[str, ...] = ("log",)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing, doubled or different, where that can be said with its machine and time."""

    check: Check
    what: str
    machine_id: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """`counts`: how much was looked at, by name."""

    findings: list[Finding]
    counts: dict[str, int]

    @property
    def is_clean(self) -> bool:
        return not self.findings


@dataclass(slots=True)
class Kind:
    """Findings of one kind: detail, machine and time of each."""

    check: Check
    text: str
    entries: list[tuple[str, str, datetime | None]] = field(default_factory=list)

    def findings(self) -> Iterable[Finding]:
        for detail, machine_id, at in self.entries[:TOLD_A_KIND]:
            yield Finding(self.check, f"{self.text}: {detail}" if detail else self.text, machine_id, at)
        if (more := len(self.entries) - TOLD_A_KIND) > 0:
            machines = {machine_id for _, machine_id, _ in self.entries}
            times = sorted(at for _, _, at in self.entries if at is not None)
            span = f", from {times[0].isoformat()} to {times[-1].isoformat()}" if times else ""
            yield Finding(self.check, f"{self.text}: {more:,} more, on {len(machines):,} machines in all{span}")


@dataclass(slots=True)
class Tally:
    """Collects findings by kind, so that a hundred thousand of them still are a page."""

    kinds: dict[tuple[Check, str], Kind] = field(default_factory=dict)

    def add(self, check: Check, text: str, machine_id: str = "", at: datetime | None = None, detail: str = "") -> None:
        """`text` names the kind and never varies; `detail` says which one."""
        self.kinds.setdefault((check, text), Kind(check, text)).entries.append((detail, machine_id, at))

    @property
    def machine_ids(self) -> set[str]:
        return {machine_id for kind in self.kinds.values() for _, machine_id, _ in kind.entries}

    def add_those_of_both(self, before: "Tally", now: "Tally") -> None:
        """What two looks found, by machine and time: what was only under way has gone by the second."""
        for place, kind in now.kinds.items():
            known = {entry[1:] for entry in before.kinds[place].entries} if place in before.kinds else set()
            if entries := [entry for entry in kind.entries if entry[1:] in known]:
                self.kinds.setdefault(place, Kind(*place)).entries.extend(entries)

    def findings(self) -> list[Finding]:
        return [finding for kind in self.kinds.values() for finding in kind.findings()]
