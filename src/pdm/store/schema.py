"""Schema and database roles, brought up to date by `pdm setup`. Needs the owner's rights; many may run at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import errors as pg
from psycopg import sql
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from pdm.config import AiDatabase, DatabaseSettings, DbRole, MainDatabase
from pdm.errors import Retryable
from pdm.store import locks
from pdm.store.pool import Connection, connect, translated_errors

Environment = Literal["main", "ai", "portal"]

_SCHEMAS: dict[Environment, str] = {"main": "public", "ai": "public", "portal": "portal"}
_MIGRATIONS = Path(__file__).parent / "migrations"
_MAIN_ROLES: tuple[DbRole, ...] = ("ingestor", "inference", "portal")
_AI_ROLES: tuple[DbRole, ...] = ("inference", "portal", "cdc")


def upgrade_main(settings: MainDatabase) -> None:
    """Create the database roles and bring the schema of the main database to this version."""
    _create_roles(settings, _MAIN_ROLES)
    _migrate(settings, "main")


def upgrade_ai(settings: AiDatabase) -> None:
    """The same for the ai database, its outbox, and the portal's own schema in it."""
    _create_roles(settings, _AI_ROLES)
    _migrate(settings, "ai", "portal")


def migration_state(conn: Connection, environment: Environment) -> tuple[str | None, str]:
    """The revision that the database has (None: it was never set up) and the one that this version wants."""
    schema = sql.Identifier(_SCHEMAS[environment])
    wanted = ScriptDirectory.from_config(_alembic_config(environment)).get_current_head() or ""
    try:
        row = conn.execute(sql.SQL("SELECT version_num FROM {}.alembic_version").format(schema)).fetchone()
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        row = None
    return (row[0] if row else None), wanted


def _migrate(settings: DatabaseSettings, *environments: Environment) -> None:
    url = "postgresql+psycopg://" + settings.conninfo("owner").partition("://")[2]
    engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": "pdm.setup"})
    with translated_errors(), _driver_errors(), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.SCHEMA})
        for environment in environments:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMAS[environment]}"))
            config = _alembic_config(environment)
            config.attributes.update(connection=connection, schema=_SCHEMAS[environment])
            command.upgrade(config, "head")


@contextmanager
def _driver_errors() -> Iterator[None]:
    """SQLAlchemy's wrapping taken off again, so that the driver's errors are translated as everywhere."""
    try:
        yield
    except DBAPIError as error:
        raise (error.orig or error) from error


def _alembic_config(environment: Environment) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(_MIGRATIONS / environment))
    return config


def _create_roles(settings: DatabaseSettings, roles: tuple[DbRole, ...]) -> None:
    try:
        with connect(settings.conninfo("owner"), "pdm.setup") as conn, conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [locks.SCHEMA])
            for role in roles:
                _create_role(conn, settings, role)
    except (pg.DuplicateObject, pg.UniqueViolation, pg.InternalError_) as error:
        # Roles belong to the server, the lock to one database of it: two databases on one server may meet here.
        raise Retryable("another set-up changes the same database roles") from error


def _create_role(conn: Connection, settings: DatabaseSettings, role: DbRole) -> None:
    """A login role with the rights that the migrations grant, and its password when the settings name one."""
    name = sql.Identifier(settings.user(role))
    if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [settings.user(role)]).fetchone() is None:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    if role == "cdc":
        conn.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(name))
    if (password := settings.password(role)) is not None:
        verifier = _scram_verifier(conn, settings.user(role), password.get_secret_value())
        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier)))


def _scram_verifier(conn: Connection, user: str, password: str) -> str:
    """What a server keeps of a password. The password itself would stand in its log beside a failed command."""
    return conn.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
