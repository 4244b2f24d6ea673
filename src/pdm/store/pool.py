"""Connections: pools, transactions, and the one place where the driver's errors become ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import errors as pg
from psycopg.abc import PQGen
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from pdm.errors import Misconfigured, Retryable

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Pool: TypeAlias = "ConnectionPool[Connection]"

T = TypeVar("T")

CHECKOUT_TIMEOUT_S = 3.0
RECONNECT_TIMEOUT_S = 3.0
STATEMENT_TIMEOUT_MS = 15_000
ANSWER_TIMEOUT_S = 20.0  # > STATEMENT_TIMEOUT_MS: the server itself would have answered by then

# A cut network is an error after 15 s, not when TCP gives up: a thread that waits for it holds up the end of a process.
_NETWORK: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
# The server's side of it: a host that lost its power must not hold locks for the two hours that TCP gives it.
_SERVER_NETWORK = " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, PoolClosed, TooManyRequests)
_NOT_SET_UP = (
    pg.UndefinedTable,
    pg.UndefinedColumn,
    pg.UndefinedFunction,
    pg.InvalidSchemaName,
    pg.InsufficientPrivilege,
)


class PunctualConnection(psycopg.Connection[tuple[Any, ...]]):
    """One that gives up on a server which answers nothing, not even that its own timeout is over.

    A proxy or a firewall in between can hold a dead connection open for ever; TCP alone never tells.
    """

    answer_timeout_s: float | None = ANSWER_TIMEOUT_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, self.answer_timeout_s if timeout is None else timeout)
        except pg._WaitTimeout as error:  # noqa: SLF001  # it has no public name
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.answer_timeout_s:g} s") from error


def open_pool(conninfo: str, name: str, *, max_size: int = 4, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Pool:
    """A pool that connects in the background: an absent server makes calls raise Retryable, not the start fail.

    `name` stands in pg_stat_activity, such as `pdm.ingestor`.
    """
    pool: Pool = ConnectionPool(
        conninfo,
        connection_class=PunctualConnection,
        min_size=1,
        max_size=max_size,
        timeout=CHECKOUT_TIMEOUT_S,
        # The pool doubles its waiting without a limit: given up early, the next caller in need starts afresh.
        reconnect_timeout=RECONNECT_TIMEOUT_S,
        check=ConnectionPool.check_connection,
        open=False,
        name=name,
        kwargs={
            "application_name": name,
            **_NETWORK,
            "options": f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}"
            " -c idle_in_transaction_session_timeout=30000" + _SERVER_NETWORK,
        },
    )
    pool.open(wait=False)
    return pool


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """One transaction: committed when the block ends, rolled back when it raises. Driver errors become ours."""
    # The transaction is explicit, so that one inside it is a savepoint and never commits by itself.
    with translated_errors(), pool.connection() as conn, conn.transaction():
        yield conn


def in_slices(pool: Pool, act: Callable[[Connection, int], int], size: int = 5_000, at_most: int = 200) -> int:
    """Call `act(conn, size)`, which returns how many rows it took, until it takes fewer; return how many in all.

    One transaction a slice: nothing is locked for long. What `at_most` slices leave waits for the next turn.
    """
    total = 0
    for _ in range(at_most):
        with transaction(pool) as conn:
            count = act(conn, size)
        total += count
        if count < size:
            break
    return total


@contextmanager
def connect(conninfo: str, name: str, *, answer_timeout_s: float | None = None) -> Iterator[Connection]:
    """One autocommit connection. Raises Retryable when the server is away.

    A process that stays gives an answer timeout; a command that a person watches may wait for as long as they like.
    """
    with (
        translated_errors(),
        PunctualConnection.connect(conninfo, autocommit=True, application_name=name, **_NETWORK) as conn,
    ):
        conn.answer_timeout_s = answer_timeout_s
        yield conn


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raises Retryable (the server is away, busy or not set up yet) or Misconfigured (credentials)."""
    try:
        yield
    except pg.InvalidPassword as error:
        raise Misconfigured(f"PostgreSQL refused the password: {_first_line(error)}") from error
    except _AWAY as error:
        raise Retryable(
            f"PostgreSQL: {_first_line(error)}", hint="Is it running, and are its URL and password right?"
        ) from error
    except _NOT_SET_UP as error:
        raise Retryable(f"PostgreSQL: {_first_line(error)}", hint="Run `pdm setup`.") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
