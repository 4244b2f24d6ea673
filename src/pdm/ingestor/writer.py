"""One batch, one transaction: readings, dead letters, progress and due minutes are stored together or not at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pdm import crash
from pdm.config import RAW_TOPIC, consumer_group
from pdm.continuity import Gap
from pdm.errors import RejectReason
from pdm.ingestor.bodies import Bodies
from pdm.ingestor.decode import Decoded, conflicts_of, keep_within
from pdm.ingestor.due_minutes import DueMinutes
from pdm.ingestor.progress import advance, duplicates_of
from pdm.store.dead_letters import DeadLetter, add_dead_letters
from pdm.store.gaps import add_gaps
from pdm.store.minutes import mark_due
from pdm.store.partitions import Bounds, ensure_partitions
from pdm.store.pool import Connection, Pool, transaction
from pdm.store.progress import lock_progress, move_progress
from pdm.store.readings import MissingPartition, Stored, store_readings

GROUP = consumer_group("ingestor")


@dataclass(frozen=True, slots=True)
class Written:
    """Outcomes of one batch, in records. `new_letters`: reasons of the dead letters that a replay does not write."""

    stored: int
    duplicates: int
    rejected: int
    new_letters: Sequence[RejectReason] = ()
    gaps: Sequence[Gap] = ()


@dataclass(slots=True)
class Writer:
    """Writes batches one at a time. `now` gives aware UTC time."""

    pool: Pool
    now: Callable[[], datetime]
    days_ahead: int
    bodies: Bodies = field(default_factory=Bodies)
    _committed: Mapping[int, int] = field(default_factory=dict)
    _bounds: Bounds | None = None
    _due: DueMinutes = field(default_factory=DueMinutes)

    def begin(self, committed: Mapping[int, int] | None) -> None:
        """A new assignment. A partition that was never stored was to begin at what its group had committed."""
        self._committed = committed or {}

    def write(self, decoded: Decoded) -> Written:
        """Idempotent. Raises Retryable: then nothing of the batch is stored."""
        try:
            with transaction(self.pool) as conn:
                fitting = self._keep_within_bounds(conn, decoded)
                stored = store_readings(conn, fitting.readings)
                letters = self.bodies.keep([*fitting.rejected, *conflicts_of(fitting, stored.conflicting)])
                new_letters = add_dead_letters(conn, letters)
                gaps = self._account(conn, fitting, stored, letters)
                # Last, so that little time passes between the look at the clock and the commit.
                marked_at_s = self.now().timestamp()
                marks = self._due.unmarked(stored.keys, marked_at_s)
                mark_due(conn, marks)
                crash.reached("ingestor.before_db_commit")
        except MissingPartition:
            self._bounds = None
            raise
        self._due.remember(marks, marked_at_s)
        self.bodies.committed()
        return Written(
            stored=len(stored.keys),
            duplicates=len(fitting.readings) - len(stored.keys) - len(stored.conflicting),
            rejected=len(letters),
            new_letters=new_letters,
            gaps=gaps,
        )

    def _account(
        self, conn: Connection, decoded: Decoded, stored: Stored, letters: Sequence[DeadLetter]
    ) -> Sequence[Gap]:
        """Late in the transaction: another owner of a partition waits from here to the commit."""
        known = lock_progress(conn, RAW_TOPIC, sorted({span.partition for span in decoded.spans}))
        found = advance(known, self._committed, decoded.spans, letters, duplicates_of(decoded, stored))
        move_progress(conn, RAW_TOPIC, found.moved)
        return tuple(add_gaps(conn, GROUP, RAW_TOPIC, found.gaps))

    def _keep_within_bounds(self, conn: Connection, decoded: Decoded) -> Decoded:
        """A reading is too old or too new only by bounds read in this very transaction, missing days made."""
        if self._bounds is not None:
            fitting = keep_within(decoded, self._bounds)
            if fitting is decoded:
                return fitting
        self._bounds = ensure_partitions(conn, self.now().date(), ahead=self.days_ahead)
        return keep_within(decoded, self._bounds)
