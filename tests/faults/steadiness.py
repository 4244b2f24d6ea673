"""Whether a role's memory and descriptors stay as they are: the last quarter of a run against the second. Pure.

Roles are killed now and then, and a young process is smaller than an old one. So those younger than half a minute do
not count, and the quarters are compared at equal ages only: band by band, each as heavy as its rarer side.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

YOUNG_S = 30.0
BANDS_S = (YOUNG_S, 120.0, float("inf"))
FEWEST = 20  # samples on each side of a band


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one role. `at_s` is of the run's own clock, `age_s` of the process."""

    role: str
    at_s: float
    age_s: float
    rss_bytes: int
    own_bytes: int
    descriptors: int


Value = Callable[[Sample], float]
VALUES: dict[str, Value] = {
    "rss": lambda sample: sample.rss_bytes,
    "own memory": lambda sample: sample.own_bytes,
    "descriptors": lambda sample: sample.descriptors,
}


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the second and the last quarter. `ratio` None: no age that both quarters have seen often enough."""

    role: str
    value: str
    second: float | None
    last: float | None
    ratio: float | None


def growths(samples: Sequence[Sample], begin_s: float, end_s: float) -> list[Growth]:
    """One a role and value."""
    quarter_s = (end_s - begin_s) / 4
    second = [sample for sample in samples if begin_s + quarter_s <= sample.at_s < begin_s + 2 * quarter_s]
    last = [sample for sample in samples if begin_s + 3 * quarter_s <= sample.at_s <= end_s]
    return [
        _growth(role, name, value, _of(second, role), _of(last, role))
        for role in sorted({sample.role for sample in samples})
        for name, value in VALUES.items()
    ]


def _of(samples: Iterable[Sample], role: str) -> list[Sample]:
    return [sample for sample in samples if sample.role == role and sample.age_s >= YOUNG_S]


def _growth(role: str, name: str, value: Value, second: Sequence[Sample], last: Sequence[Sample]) -> Growth:
    ratios, weights = [], []
    for first_s, end_s in pairwise(BANDS_S):
        before, after = (_values(samples, value, first_s, end_s) for samples in (second, last))
        if min(len(before), len(after)) >= FEWEST:
            ratios.append(statistics.median(after) / statistics.median(before))
            weights.append(min(len(before), len(after)))
    ratio = statistics.fmean(ratios, weights) if ratios else None
    return Growth(role, name, _median(second, value), _median(last, value), ratio and round(ratio, 3))


def _values(samples: Iterable[Sample], value: Value, first_s: float, end_s: float) -> list[float]:
    return [value(sample) for sample in samples if first_s <= sample.age_s < end_s]


def _median(samples: Iterable[Sample], value: Value) -> float | None:
    found = _values(samples, value, 0, float("inf"))
    return statistics.median(found) if found else None
