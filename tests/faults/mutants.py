"""Broken variants of `pdm`, each without one of its safeguards: the suite must catch every one, or it proves nothing.

A variant is the source with one piece of text changed. A piece that is no longer there is an error, not a pass.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pdm
from pdm.config import RoleName

SOURCE = Path(pdm.__file__).parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """`caught_by` names the fault under which `role`, run from the changed source, must be found out."""

    name: str
    role: RoleName
    file: str
    old: str
    new: str
    caught_by: str


MUTANTS = (
    Mutant(
        "commits before the database",
        "ingestor",
        "broker.py",
        "            with metrics.BATCH_SECONDS.labels(self.role).time():\n                await self.handle(batch)\n",
        "            await self.consumer.commit()\n            await self.handle(batch)\n",
        caught_by="crash ingestor.before_db_commit",
    ),
    Mutant(
        "commits offsets by itself, in time",
        "ingestor",
        "broker.py",
        "ack_policy=AckPolicy.NACK_ON_ERROR",
        "ack_policy=AckPolicy.ACK_FIRST, auto_commit_interval_ms=100",
        caught_by="crash ingestor.before_db_commit",
    ),
    Mutant(
        "has no inbox",
        "portal",
        "portal/handler.py",
        "    fresh = add_to_inbox(conn, incoming)\n",
        "    add_to_inbox(conn, incoming)\n    fresh = list(incoming)\n",
        caught_by="relay's offsets deleted",
    ),
    Mutant(
        "draws episode ids at random",
        "inference",
        "inference/episode.py",
        '    return uuid5(_NAMESPACE, f"{machine_id} {opening.timestamp():.6f}")\n',
        "    from uuid import uuid4\n\n    return uuid4()\n",
        caught_by="crash inference.after_db_commit",
    ),
    Mutant(
        "draws outbox ids at random",
        "inference",
        "inference/episode.py",
        "        return uuid5(self.episode.episode_id, str(self.episode.seq))\n",
        "        from uuid import uuid4\n\n        return uuid4()\n",
        caught_by="crash inference.after_db_commit",
    ),
    Mutant(
        "keeps its state before the commit",
        "inference",
        "inference/commit.py",
        '    crash.reached("inference.after_step")\n',
        "    for item in items:\n        item.partition.machines[item.after.machine_id] = item.after\n",
        caught_by="every database session ended every 2 s",
    ),
    Mutant(
        "has no watermark of transitions",
        "inference",
        "store/episodes.py",
        " AND (changed_appended_at, changed_offset) < (%(appended_at)s, %(offset)s)",
        "",
        caught_by="inference paused until another owns its partitions",
    ),
    Mutant(
        "applies events in any order",
        "portal",
        "store/inbox.py",
        "    WHERE known.seq < excluded.seq\n",
        "",
        caught_by="relay's offsets deleted",
    ),
)


def make_source(mutant: Mutant, folder: Path) -> Path:
    """A copy of the source with the change; returns what PYTHONPATH must name. Raises ValueError when it finds none."""
    target = folder / mutant.name.replace(" ", "-").replace(",", "")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(SOURCE, target / "pdm", ignore=shutil.ignore_patterns("__pycache__"))
    changed = target / "pdm" / mutant.file
    text = changed.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file} holds {text.count(mutant.old)} of the text that {mutant.name!r} changes")
    changed.write_text(text.replace(mutant.old, mutant.new))
    return target
