"""constraints.txt pins everything that this project needs, at the versions the tests ran with."""

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PINS = Path(__file__).parents[2] / "constraints.txt"


def installed(needed: Requirement, seen: set[str]) -> Iterator[tuple[str, str]]:
    """Name and version of what `needed` brings into this environment, itself included."""
    found = distribution(needed.name)
    yield canonicalize_name(needed.name), found.version.partition("+")[0]
    for extra in ("", *needed.extras):
        if (key := f"{canonicalize_name(needed.name)}[{extra}]") in seen:
            continue
        seen.add(key)
        for text in found.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                yield from installed(requirement, seen)


def test_everything_installed_is_pinned_as_it_is() -> None:
    pins: dict[str, str] = {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in map(Requirement, PINS.read_text().splitlines())
    }
    needed = dict(installed(Requirement("smart-factory-pdm[dev]"), set()))
    del needed["smart-factory-pdm"]
    stray = {name: version for name, version in needed.items() if pins.get(name) != version}
    assert stray == {}, "run `make pins`, then `make test` again"
