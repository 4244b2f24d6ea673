"""Two uses of one advisory lock would wait for each other: alerts once stood still for as long as a training ran."""

from pdm.store import locks


def test_every_advisory_lock_has_a_number_of_its_own() -> None:
    numbers = [value for name, value in vars(locks).items() if name.isupper()]
    assert len(numbers) >= 5
    assert len(set(numbers)) == len(numbers)
