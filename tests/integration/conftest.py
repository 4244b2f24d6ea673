"""The real engines, once a test session, on a folder of their own; `pdm setup` has run on them."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.desk import Desk
from tests.plant import Plant

from pdm.config import Settings
from pdm.local.stack import LocalStack
from pdm.setup import run_setup
from pdm.store.pool import open_pool
from pdm.store.schema import upgrade_ai, upgrade_main


@pytest.fixture(scope="session")
def data_dir(make_data_dir: Callable[[], Path]) -> Path:
    return make_data_dir()


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


@pytest.fixture
def plant(stack: Settings) -> Iterator[Plant]:
    """An empty main database, dropped after the test."""
    name = f"plant_{secrets.token_hex(4)}"
    with psycopg.connect(stack.main_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = stack.main_db.model_copy(update={"url": stack.main_db.url.rpartition("/")[0] + f"/{name}"})
    upgrade_main(database)
    pool = open_pool(database.conninfo("ingestor"), "pdm.test", max_size=8)
    yield Plant(database, pool)
    pool.close()
    with psycopg.connect(stack.main_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def desk(stack: Settings, plant: Plant) -> Iterator[Desk]:
    """An empty ai database beside an empty main one, dropped after the test."""
    name = f"desk_{secrets.token_hex(4)}"
    with psycopg.connect(stack.ai_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = stack.ai_db.model_copy(update={"url": stack.ai_db.url.rpartition("/")[0] + f"/{name}"})
    upgrade_ai(database)
    pool = open_pool(database.conninfo("portal"), "pdm.test", max_size=8)
    yield Desk(stack.model_copy(update={"ai_db": database, "main_db": plant.database}), pool)
    pool.close()
    with psycopg.connect(stack.ai_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
