"""What an operator does with dead letters: look at them, replay them into the tables, drop them. No words, no screen.

A replay goes the way of the ingestor, decoder and bounds included, but never back onto the topic: it cannot alarm.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

from pdm.config import Settings
from pdm.errors import BadRecord, PdmError, RejectReason
from pdm.events import Reading, read_reading
from pdm.ingestor.decode import conflict_text, detail_text, outside
from pdm.ingestor.due_minutes import DueMinutes
from pdm.store.letter_desk import (
    Amount,
    Body,
    Choice,
    Group,
    Letter,
    amount_of,
    change_reasons,
    delete_letters,
    lock_waiting,
    mark_replayed,
    missing_ids,
    newest_letters,
    next_ids,
    read_bodies,
    summarise,
)
from pdm.store.minutes import mark_due
from pdm.store.partitions import Bounds, ensure_partitions
from pdm.store.pool import Connection, connect
from pdm.store.readings import store_readings

REPLAYED_AT_ONCE = 500  # bodies of 64 KB: 32 MB in hand at most
DROPPED_AT_ONCE = 10_000


@dataclass(slots=True)
class Outcome:
    """What became of the letters of a replay. `refused`: those that stay, by the reason they have now."""

    stored: int = 0
    already_stored: int = 0  # with the very same values
    bodiless: int = 0  # cut, or not kept: they stay as they are
    refused: Counter[RejectReason] = field(default_factory=Counter)

    @property
    def letters(self) -> int:
        return self.stored + self.already_stored + self.bodiless + self.refused.total()

    def add(self, other: "Outcome") -> None:
        self.stored += other.stored
        self.already_stored += other.already_stored
        self.bodiless += other.bodiless
        self.refused += other.refused


@dataclass(frozen=True, slots=True)
class Desk:
    """The dead letters of one installation. Every call raises Retryable while the database is away."""

    settings: Settings
    now: Callable[[], datetime]

    def look(self, choice: Choice, limit: int, before_id: int | None) -> tuple[list[Group], list[Letter]]:
        with self._connect() as conn:
            return summarise(conn, choice), newest_letters(conn, choice, limit, before_id)

    def read(self, letter_id: int) -> tuple[Letter, bytes | None, bytes | None]:
        """The letter, its key and its value. Raises PdmError when there is none."""
        with self._connect() as conn:
            found = newest_letters(conn, Choice(ids=[letter_id]), limit=1)
            if not found:
                raise _unknown([letter_id])
            return found[0], *read_bodies(conn, letter_id)

    def amount(self, choice: Choice) -> Amount:
        """Raises PdmError for an id that is not there."""
        with self._connect() as conn:
            if choice.ids is not None and (missing := missing_ids(conn, choice.ids)):
                raise _unknown(missing)
            return amount_of(conn, choice)

    def replay(self, choice: Choice, up_to: int, *, is_trial: bool = False) -> Iterator[Outcome]:
        """Slice after slice, each a transaction; rows and marks together or not at all. Letters up to id `up_to`.

        A trial does the same and takes it back, so two letters of one key in different slices both count as stored.
        """
        with self._connect() as conn:
            for ids in _slices(conn, choice, up_to, REPLAYED_AT_ONCE):
                with conn.transaction(force_rollback=is_trial):
                    outcome = self._replay_slice(conn, ids)
                yield outcome

    def drop(self, choice: Choice, up_to: int) -> Iterator[int]:
        """Slice after slice: how many rows went."""
        with self._connect() as conn:
            for ids in _slices(conn, choice, up_to, DROPPED_AT_ONCE):
                yield delete_letters(conn, ids)

    def _replay_slice(self, conn: Connection, ids: Sequence[int]) -> Outcome:
        bodies = lock_waiting(conn, ids)
        whole = [body for body in bodies if body.is_whole]
        bounds = ensure_partitions(conn, self.now().date(), ahead=self.settings.ingestor.partitions_ahead)
        judged = [(body, judge(body, bounds)) for body in whole]
        fitting = [(body, found) for body, found in judged if isinstance(found, Reading)]
        stored = store_readings(conn, [found for _, found in fitting])
        conflicting = set(stored.conflicting)
        changes = [(body.id, bad.reason, detail_text(bad.detail)) for body, bad in judged if isinstance(bad, BadRecord)]
        for place in sorted(conflicting):
            body, found = fitting[place]
            changes.append((body.id, "conflicting_duplicate", conflict_text(found)))
        change_reasons(conn, changes)
        mark_replayed(conn, [body.id for place, (body, _) in enumerate(fitting) if place not in conflicting])
        mark_due(conn, DueMinutes().unmarked(stored.keys, self.now().timestamp()))
        return Outcome(
            stored=len(stored.keys),
            already_stored=len(fitting) - len(stored.keys) - len(conflicting),
            bodiless=len(bodies) - len(whole),
            refused=Counter(reason for _, reason, _ in changes),
        )

    def _connect(self) -> AbstractContextManager[Connection]:
        return connect(self.settings.main_db.conninfo("ingestor"), "pdm.dlq")


def judge(body: Body, bounds: Bounds) -> Reading | BadRecord:
    """As the ingestor would today. Pure."""
    found = read_reading(body.key, body.value)
    return found if isinstance(found, BadRecord) else outside(found.timestamp, bounds) or found


def _slices(conn: Connection, choice: Choice, up_to: int, size: int) -> Iterator[list[int]]:
    after = 0
    while ids := next_ids(conn, choice, after=after, up_to=up_to, limit=size):
        yield ids
        after = ids[-1]


def _unknown(ids: Sequence[int]) -> PdmError:
    names = ", ".join(map(str, ids[:10])) + (", …" if len(ids) > 10 else "")
    return PdmError(f"no dead letter {names}", hint="`pdm dlq list` shows which there are.")
