"""What the model says of a reading, and how long it must say so before an episode opens or ends. Pure; no torch."""

from dataclasses import dataclass

from pdm.events import FailureType

OPEN_P = 0.5
RELEASE_P = 0.3
OPEN_HITS, OPEN_OF = 3, 5
RELEASE_STREAK = 10


@dataclass(frozen=True, slots=True)
class Score:
    """Failure probability of one reading, of each mode and of any: 1 − Π(1 − p)."""

    model_version: str
    modes: tuple[tuple[FailureType, float], ...]

    @property
    def failure(self) -> float:
        well = 1.0
        for _, p in self.modes:
            well *= 1.0 - p
        return 1.0 - well

    @property
    def top_mode(self) -> FailureType:
        """The mode with the highest probability; Unknown where none is likely by itself."""
        mode, p = max(self.modes, key=lambda item: item[1])
        return mode if p >= OPEN_P else "Unknown"


@dataclass(frozen=True, slots=True)
class ModelCounter:
    """Persistence of the model's verdict: alone it needs 3 of 5 readings to open and 10 quiet ones in a row to end."""

    recent: tuple[bool, ...] = ()
    quiet_streak: int = RELEASE_STREAK

    def count(self, score: Score | None) -> "ModelCounter":
        if score is None:
            return ModelCounter()
        recent = (*self.recent, score.failure >= OPEN_P)[-OPEN_OF:]
        return ModelCounter(recent, self.quiet_streak + 1 if score.failure < RELEASE_P else 0)

    def opening(self, score: Score | None) -> list[FailureType]:
        return [score.top_mode] if score is not None and sum(self.recent) >= OPEN_HITS else []

    @property
    def holds(self) -> bool:
        return self.quiet_streak < RELEASE_STREAK
