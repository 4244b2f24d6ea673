"""The last minute of one machine: its samples, and the means that rules judge and Redis shows. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum

from pdm import physics
from pdm.events import Reading

MIN_SPAN_S = 30.0
MIN_READINGS = 5
MAX_SAMPLES = 10_000  # a minute at 100 Hz is 6,000; a machine that sends faster keeps its newest


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading at its effective time, s. `timestamp_s` is its own, by which a repeat is recognised."""

    effective_s: float
    timestamp_s: float
    append_s: float
    reading: Reading


@dataclass(frozen=True, slots=True)
class TorqueMean:
    """Mean torque over the window. It opens an episode only where enough readings span enough time; it holds one
    wherever it is high, else an episode would end while its window fills and open again once it is full."""

    mean_nm: float
    is_enough: bool

    @property
    def opens(self) -> bool:
        return self.is_enough and self.mean_nm >= physics.MEAN_TORQUE_LIMIT_NM

    @property
    def holds(self) -> bool:
        return self.mean_nm >= physics.MEAN_TORQUE_RELEASE_NM


@dataclass(frozen=True, slots=True)
class Means:
    """Means over the window; None where no sample has the sensors."""

    process_temp_k: float | None
    air_temp_k: float | None
    rpm: float | None
    torque_nm: float | None
    power_w: float | None


@dataclass(slots=True)
class Window:
    """Samples within `length_s` before the newest one, ordered by effective time.

    What was appended longer than `memory_s` ago is out too: a restarted process could not know it.
    """

    length_s: float
    memory_s: float
    samples: deque[Sample] = field(default_factory=deque)
    _timestamps: set[float] = field(default_factory=set)

    def fork(self) -> "Window":
        return Window(self.length_s, self.memory_s, self.samples.copy(), self._timestamps.copy())

    def clear(self) -> None:
        self.samples.clear()
        self._timestamps.clear()

    def holds(self, timestamp_s: float) -> bool:
        """Whether a reading of this timestamp is already in."""
        return timestamp_s in self._timestamps

    def add(self, sample: Sample) -> None:
        samples = self.samples
        if samples and sample.effective_s < samples[-1].effective_s:
            place = next(i for i, other in enumerate(samples) if other.effective_s > sample.effective_s)
            samples.insert(place, sample)
        else:
            samples.append(sample)
        self._timestamps.add(sample.timestamp_s)
        start_s, known_s = samples[-1].effective_s - self.length_s, sample.append_s - self.memory_s
        while samples[0].effective_s <= start_s or samples[0].append_s < known_s or len(samples) > MAX_SAMPLES:
            self._timestamps.discard(samples.popleft().timestamp_s)

    def torque(self) -> TorqueMean | None:
        """The mean that the plant's rule judges; None without any torque."""
        timed = [(s.effective_s, s.reading.torque_nm) for s in self.samples if s.reading.torque_nm is not None]
        if not timed:
            return None
        return TorqueMean(
            mean_nm=fsum([torque_nm for _, torque_nm in timed]) / len(timed),
            is_enough=len(timed) >= MIN_READINGS and timed[-1][0] - timed[0][0] >= MIN_SPAN_S,
        )

    def means(self) -> Means:
        readings = [sample.reading for sample in self.samples]
        return Means(
            process_temp_k=_mean([r.process_temp_k for r in readings]),
            air_temp_k=_mean([r.air_temp_k for r in readings]),
            rpm=_mean([r.rpm for r in readings]),
            torque_nm=_mean([r.torque_nm for r in readings]),
            power_w=_mean([_power_w(r) for r in readings]),
        )


def _power_w(reading: Reading) -> float | None:
    if reading.torque_nm is None or reading.rpm is None:
        return None
    return physics.power_w(reading.torque_nm, reading.rpm)


def _mean(values: Sequence[float | None]) -> float | None:
    """fsum rounds once, so the mean does not depend on the order in which the readings came."""
    present = [value for value in values if value is not None]
    return fsum(present) / len(present) if present else None
