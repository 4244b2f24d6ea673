"""Folders that real engines can live in, and how patient property tests are."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code: how long it may take is said where it matters, in seconds of the processor.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def make_data_dir() -> Iterator[Callable[[], Path]]:
    """A fresh folder each time; short, and passable by others: as root, PostgreSQL runs as another user."""
    made: list[Path] = []

    def make() -> Path:
        folder = Path(tempfile.mkdtemp(prefix="pdm-test-"))
        folder.chmod(0o711)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        shutil.rmtree(folder)
