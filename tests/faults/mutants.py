"""Broken variants of `pdm`, each without one of its safeguards: the suite must catch every one, or it proves nothing.

A variant is the source with one piece of text changed. A piece that is no longer there is an error, not a pass.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pdm
from pdm.config import RoleName
from tests.faults.fault import Fault
from tests.faults.rig import Rig, Run

SOURCE = Path(pdm.__file__).parent


Edit = tuple[str, str, str]
"""A file of the package, a piece of text that stands in it once, and what takes its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`caught_by` names the fault under which `role`, run from the changed source, must be found out.

    Or the test that must fail, where no fault brings the moment about for sure.
    """

    name: str
    role: RoleName
    edits: tuple[Edit, ...]
    caught_by: str


_RANDOM = "__import__('uuid').uuid4()"

MUTANTS = (
    Mutant(
        "commits before the database",
        "ingestor",
        (
            (
                "broker.py",
                "                await self.handle(batch)\n",
                "                await self.consumer.commit()\n                await self.handle(batch)\n",
            ),
        ),
        caught_by="crash ingestor.before_db_commit",
    ),
    Mutant(
        "commits offsets by the clock",
        "ingestor",
        (("broker.py", "AckPolicy.NACK_ON_ERROR", "AckPolicy.ACK_FIRST, auto_commit_interval_ms=100"),),
        caught_by="both databases away for half a minute",
    ),
    Mutant(
        "has no inbox",
        "portal",
        (("portal/handler.py", "add_to_inbox(conn, incoming)\n", "list(incoming)\n"),),
        caught_by="offsets of the relay deleted",
    ),
    Mutant(
        "draws episode ids at random",
        "inference",
        (("inference/episode.py", "    return uuid5(_NAMESPACE, ", f"    return {_RANDOM} or uuid5(_NAMESPACE, "),),
        caught_by="inference crashes on a backlog",
    ),
    Mutant(
        "draws outbox ids at random",
        "inference",
        (("inference/episode.py", "uuid5(self.episode.episode_id, str(self.episode.seq))", _RANDOM),),
        caught_by="inference crashes on a backlog",
    ),
    Mutant(
        "keeps its state before the commit",
        "inference",
        (
            (
                "inference/commit.py",
                '    crash.reached("inference.after_step")\n',
                "    for item in items:\n        item.partition.machines[item.after.machine_id] = item.after\n",
            ),
        ),
        caught_by="tests/integration/test_episode_faults.py::test_a_crash_at_any_boundary_leaves_each_event_once",
    ),
    Mutant(
        "has no watermark of transitions",
        "inference",
        (
            ("store/episodes.py", " AND (changed_appended_at, changed_offset) < (%(appended_at)s, %(offset)s)", ""),
            ("inference/machine.py", " or arrival.position <= machine.decided", ""),
        ),
        caught_by="inference crashes on a backlog",
    ),
    Mutant(
        "applies events in any order",
        "portal",
        (("store/inbox.py", "    WHERE known.seq < excluded.seq\n", ""),),
        caught_by="tests/integration/test_portal.py::test_in_whatever_order_events_come_the_newest_stands",
    ),
)

LETTERS = "LDOA"  # what the checker must say of it; a mere delay (R) is no proof


def make_source(mutant: Mutant, folder: Path) -> Path:
    """A changed copy of the source; returns what PYTHONPATH must name. Raises ValueError when an edit finds nothing."""
    target = folder / mutant.name.replace(" ", "-")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(SOURCE, target / "pdm", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in mutant.edits:
        changed = target / "pdm" / file
        text = changed.read_text()
        if text.count(old) != 1:
            raise ValueError(f"{file} holds {text.count(old)} of the text that {mutant.name!r} changes")
        changed.write_text(text.replace(old, new))
    return target


@dataclass(frozen=True, slots=True)
class Exposed(Fault):
    """Passes when the checker finds the variant out under the fault that is said to expose it."""

    mutant: Mutant = MUTANTS[0]
    by: Fault | None = None

    def run(self, rig: Rig, seed: int, name: str = "") -> Run:
        assert self.by is not None
        role, path = rig.roles[self.mutant.role], "PYTHONPATH"
        usual = role.environment.get(path, "")
        changed = make_source(self.mutant, rig.engines.stack.folder.path / "logs")
        role.restart(**{path: f"{changed}:{usual}" if usual else str(changed)})
        try:
            role.wait_ready()
            run = self.by.run(rig, seed, name or self.name)
        finally:
            role.restart(**{path: usual})
            role.wait_ready()
        caught = [finding for finding in run.findings if finding[0] in LETTERS]
        run.figures["found_out_by"] = caught[:3]
        run.findings = [] if caught else [f"the suite did not see a pdm that {self.mutant.name}", *run.findings]
        return run


@dataclass(frozen=True, slots=True)
class Failing(Fault):
    """Passes when the test that guards against the variant fails on it."""

    mutant: Mutant = MUTANTS[0]

    def run(self, rig: Rig, seed: int, name: str = "") -> Run:
        changed = make_source(self.mutant, rig.engines.stack.folder.path / "logs")
        path = os.pathsep.join(filter(None, [str(changed), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:randomly", self.mutant.caught_by]
        environment = {**os.environ, "PYTHONPATH": path}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        run = rig.run(name or self.name, seed, _nothing)
        run.figures["found_out_by"] = [self.mutant.caught_by]
        run.require(
            ended.returncode == TESTS_FAILED, f"pytest ended with {ended.returncode} on a pdm that {self.mutant.name}"
        )
        return run


TESTS_FAILED = 1  # pytest's exit code; others mean that it could not run


def _nothing(rig: Rig, run: Run) -> None:
    """The variant is judged by its test alone."""


def faults(others: Iterable[Fault]) -> Iterator[Fault]:
    by_name = {fault.name: fault for fault in others}
    for mutant in MUTANTS:
        if mutant.caught_by not in by_name:
            yield Failing(f"broken variant: {mutant.name}", ("variant",), _nothing, expected_s=60, mutant=mutant)
            continue
        by = by_name[mutant.caught_by]
        yield Exposed(
            name=f"broken variant: {mutant.name}",
            rows=("variant",),
            act=by.act,
            expected_s=by.expected_s + 20,
            mutant=mutant,
            by=by,
        )
