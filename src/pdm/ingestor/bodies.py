"""How much of dead letters' keys and values is kept, so that a burst of bad records cannot fill the disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pdm import metrics
from pdm.store.dead_letters import DeadLetter, body_bytes, without_body
from pdm.store.pool import connect

REST = 100  # a count reads the whole table: it takes at most a hundredth of the time
COUNT_TIMEOUT_S = 300.0

log = structlog.get_logger()


@dataclass(slots=True)
class Bodies:
    """The running size of all bodies in `dead_letter`: counted now and then, and what this process added since."""

    cap_mb: int = 256
    monotonic_s: Callable[[], float] = time.monotonic
    _counted: int = 0  # bytes
    _added: int = 0  # bytes, in the life of this process
    _added_when_counted: int = 0
    _in_hand: tuple[int, int] = 0, 0  # bytes, and letters refused, of the batch being stored
    _refused: int = 0  # letters since the last count
    _next_count_s: float = 0.0

    @property
    def kept_bytes(self) -> int:
        return self._counted + self._added - self._added_when_counted

    def keep(self, letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        """As they are, while there is room; those that find none lose their bodies and say so."""
        room = max(0, self.cap_mb * 1024 * 1024 - self.kept_bytes)
        sizes = [len(letter.key or b"") + len(letter.value or b"") for letter in letters]
        if (wanted := sum(sizes)) <= room:
            self._in_hand = wanted, 0
            return letters
        left, refused, kept = room, 0, []
        for letter, size in zip(letters, sizes, strict=True):
            fits = size <= left
            kept.append(letter if fits else without_body(letter, f"dead letters hold {self.cap_mb} MB already"))
            left, refused = (left - size, refused) if fits else (left, refused + 1)
        self._in_hand = room - left, refused
        return kept

    def committed(self) -> None:
        """What `keep` let through last is stored. Letters of a redelivery count twice until the next count."""
        self._added += self._in_hand[0]
        self._refused += self._in_hand[1]

    def count(self, conninfo: str) -> None:
        """One background turn. Raises Retryable. What is committed meanwhile may count twice, never not at all."""
        began_s = self.monotonic_s()
        if began_s < self._next_count_s:
            return
        added = self._added
        with connect(conninfo, "pdm.ingestor.bodies", answer_timeout_s=COUNT_TIMEOUT_S) as conn:
            self._counted, self._added_when_counted = body_bytes(conn), added
        self._next_count_s = began_s + REST * (self.monotonic_s() - began_s)
        metrics.DEAD_LETTER_BODY_BYTES.set(self.kept_bytes)
        if self._refused:
            log.warning("ingestor.dead_letter_bodies_full", not_kept=self._refused, cap_mb=self.cap_mb)
            self._refused = 0
