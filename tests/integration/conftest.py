"""The real engines, once a test session, on a folder of their own; `pdm setup` has run on them."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdm.config import Settings
from pdm.local.stack import LocalStack
from pdm.setup import run_setup


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Short and passable by others: PostgreSQL runs as another user when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="pdm-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def local_stack(data_dir: Path) -> Iterator[LocalStack]:
    """Engines without roles. A process of its own finds them by `local_stack.environment`."""
    with LocalStack(Settings(data_dir=data_dir)) as stack:
        asyncio.run(run_setup(stack.settings, report=lambda _step: None, timeout_s=60))
        yield stack


@pytest.fixture(scope="session")
def stack(local_stack: LocalStack) -> Settings:
    """Settings that lead to engines which are up and set up."""
    return local_stack.settings
