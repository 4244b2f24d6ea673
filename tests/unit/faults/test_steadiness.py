"""Quarters are compared at equal ages: a restart is no shrinking, and growth of an old process is seen."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.steadiness import Sample, growths

MIB = 2**20


def looks(born_at_s: float, until_s: float, size: Callable[[float, float], float]) -> Iterator[Sample]:
    """One a second of one life; `size` in MiB, of the moment and the age."""
    for at_s in range(int(born_at_s), int(until_s)):
        rss = int(size(at_s, at_s - born_at_s) * MIB)
        yield Sample("ingestor", at_s, at_s - born_at_s, rss, rss, 20)


def ratios(samples: list[Sample]) -> dict[str, float | None]:
    return {growth.value: growth.ratio for growth in growths(samples, 0, 1200)}


def test_a_process_that_stays_as_it_is_has_not_grown() -> None:
    assert ratios(list(looks(0, 1200, lambda at, age: 100))) == {"rss": 1, "own memory": 1, "descriptors": 1}


def test_a_leak_is_seen() -> None:
    found = ratios(list(looks(0, 1200, lambda at, age: 100 + at / 20)))
    assert found["rss"] == pytest.approx(152.5 / 122.5, abs=0.01)
    assert found["own memory"] == pytest.approx(152.5 / 122.5, abs=0.01)


def test_young_processes_are_compared_with_young_ones_only() -> None:
    def grows_up(_at_s: float, age_s: float) -> float:
        return 60 if age_s < 120 else 100

    lives = [*looks(0, 480, grows_up), *looks(480, 930, grows_up), *looks(930, 1200, grows_up)]
    assert ratios(lives)["rss"] == 1


def test_what_has_no_equal_age_is_not_compared() -> None:
    lives = [*looks(0, 850, lambda at, age: 100), *looks(1100, 1200, lambda at, age: 50)]
    assert ratios(lives)["rss"] is None
