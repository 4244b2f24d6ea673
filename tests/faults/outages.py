"""Engines that are away, frozen, full, locked or refusing while their clients go on."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import psycopg
from psycopg import sql
from redis import Redis

from pdm.config import DatabaseSettings, DbRole
from pdm.store.pool import connect
from tests.faults.engines import Engine
from tests.faults.fault import Act, Fault
from tests.faults.proxy import CLEAR, Weather
from tests.faults.rig import Rig, Run
from tests.faults.roles import CONSUMERS

REFUSING = Weather(is_refusing=True)
MAX_CPU_SHARE = 0.5
MAX_GROWTH_BYTES = 60 * 2**20


def faults() -> Iterator[Fault]:
    yield Fault("both databases away for five minutes", ("20",), _away(300), expected_s=360)
    yield Fault("both databases away for half a minute", ("20",), _away(30), is_quick=True, expected_s=75)
    yield Fault("kafka frozen for 30 s", ("16",), _frozen("kafka", 30), expected_s=70)
    yield Fault("postgres-main frozen for 30 s", ("16",), _frozen("postgres-main", 30), expected_s=60)
    yield Fault("postgres-ai frozen for 30 s", ("16",), _frozen("postgres-ai", 30), expected_s=60)
    yield Fault("connect frozen for 30 s", ("16",), _frozen("connect", 30), expected_s=60)
    yield Fault("valkey frozen for 30 s", ("31",), _frozen("valkey", 30), expected_s=50)
    yield Fault("every database session ended every 2 s", ("21",), _terminate_sessions, is_quick=True, expected_s=30)
    yield Fault("no more connections to the databases", ("22",), _no_connections, expected_s=40)
    yield Fault("sensor_log locked for 40 s", ("23", "24"), _locked("main", "sensor_log", 40), expected_s=70)
    yield Fault("outbox locked for 40 s", ("23", "24"), _locked("ai", "outbox", 40), expected_s=70)
    yield Fault("portal.inbox locked for 40 s", ("23", "24"), _locked("ai", "portal.inbox", 40), expected_s=70)
    yield Fault("valkey full", ("27",), _valkey_full, expected_s=35)
    yield Fault("valkey flushed", ("30",), _valkey_flushed, is_quick=True, expected_s=25)
    yield Fault("valkey pauses its clients for 20 s", ("31",), _valkey_paused, expected_s=40)
    yield Fault("valkey is a read-only replica", ("32",), _valkey_replica, expected_s=35)
    yield Fault("passwords rotated", ("61",), _rotated, expected_s=40)
    yield Fault("rights taken from the ingestor", ("61",), _rights_taken, expected_s=40)
    yield Fault("a column added live", ("58",), _column_added, expected_s=25)


def _away(seconds: float) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage(), _calm_while_waiting(rig, run, seconds):
            rig.set_links("postgres-main", REFUSING)
            rig.set_links("postgres-ai", REFUSING)
            time.sleep(seconds)
            rig.set_links("postgres-main", CLEAR)
            rig.set_links("postgres-ai", CLEAR)

    return act


@contextmanager
def _calm_while_waiting(rig: Rig, run: Run, seconds: float) -> Iterator[None]:
    """No spinning and no growing memory in any role inside the block."""
    before = {role: _usage(rig.roles[role].process()) for role in CONSUMERS}
    yield
    for role in CONSUMERS:
        cpu_s, rss = (now - then for now, then in zip(_usage(rig.roles[role].process()), before[role], strict=True))
        run.figures[f"{role}_cpu_share"] = round(cpu_s / seconds, 2)
        run.figures[f"{role}_growth_mib"] = round(rss / 2**20, 1)
        run.require(cpu_s / seconds < MAX_CPU_SHARE, f"{role} spins: {100 * cpu_s / seconds:.0f} % of a core")
        run.require(rss < MAX_GROWTH_BYTES, f"{role} grew by {rss / 2**20:.0f} MiB")


def _usage(process: psutil.Process) -> tuple[float, int]:
    times = process.cpu_times()
    return times.user + times.system, process.memory_info().rss


def _frozen(engine: Engine, seconds: float) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.engines.signal(engine, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                rig.engines.signal(engine, signal.SIGCONT)

    return act


def _databases(rig: Rig) -> tuple[DatabaseSettings, DatabaseSettings]:
    return rig.settings.main_db, rig.settings.ai_db


def _end_sessions(rig: Rig, names: str = "%") -> int:
    """Of our own roles; returns how many."""
    ended = 0
    for database in _databases(rig):
        with connect(database.conninfo("owner"), "pdm.faults") as conn:
            ended += conn.execute(_END_SESSIONS, [names]).rowcount
    return ended


_END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename LIKE 'pdm\\_%%' AND usename LIKE %s
"""


def _terminate_sessions(rig: Rig, run: Run) -> None:
    with run.outage():
        for _ in range(6):
            run.figures["sessions_ended"] = run.figures.get("sessions_ended", 0) + _end_sessions(rig)
            time.sleep(2)
    run.require(run.figures["sessions_ended"] > 6, "the fault itself: hardly a session was there to end")


def _for_each_role(rig: Rig, statement: str, *values: str) -> None:
    """For the database roles of every consumer; `{}` is the role's name, `values` literals."""
    for database in _databases(rig):
        with psycopg.connect(database.conninfo("owner"), autocommit=True) as conn:
            names = conn.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [_ROLE_NAMES]).fetchall()
            for (name,) in names:
                conn.execute(sql.SQL(statement).format(sql.Identifier(name), *map(sql.Literal, values)))


ROLES: tuple[DbRole, ...] = ("ingestor", "inference", "portal")
_ROLE_NAMES = [f"pdm_{role}" for role in ROLES]


def _no_connections(rig: Rig, run: Run) -> None:
    with run.outage():
        _for_each_role(rig, "ALTER ROLE {} CONNECTION LIMIT 0")
        _end_sessions(rig)
        time.sleep(15)
        _for_each_role(rig, "ALTER ROLE {} CONNECTION LIMIT -1")


def _rotated(rig: Rig, run: Run) -> None:
    """The roles go on with the old password; once it is right again they do without a restart."""
    with run.outage():
        _for_each_role(rig, "ALTER ROLE {} PASSWORD {}", "another-password")
        _end_sessions(rig)
        time.sleep(15)
        for database in _databases(rig):
            with psycopg.connect(database.conninfo("owner"), autocommit=True) as conn:
                for role in ROLES:
                    password = database.password(role)
                    if password is not None and _has_role(conn, f"pdm_{role}"):
                        name, secret = sql.Identifier(f"pdm_{role}"), sql.Literal(password.get_secret_value())
                        conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, secret))


def _has_role(conn: "psycopg.Connection[tuple[object, ...]]", name: str) -> bool:
    return conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None


def _rights_taken(rig: Rig, run: Run) -> None:
    main = rig.settings.main_db.conninfo("owner")
    with run.outage():
        with psycopg.connect(main, autocommit=True) as conn:
            conn.execute("REVOKE INSERT ON sensor_log FROM pdm_ingestor")
            conn.execute("REVOKE ALL ON sensor_minute_due FROM pdm_ingestor")
        time.sleep(10)
        with psycopg.connect(main, autocommit=True) as conn:
            conn.execute("GRANT INSERT ON sensor_log TO pdm_ingestor")
            conn.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON sensor_minute_due TO pdm_ingestor")


def _locked(database: str, table: str, seconds: float) -> Act:
    def act(rig: Rig, run: Run) -> None:
        block = rig.settings.main_db if database == "main" else rig.settings.ai_db
        with run.outage(), psycopg.connect(block.conninfo("owner")) as conn:
            conn.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            time.sleep(seconds)
            conn.rollback()

    return act


def _valkey(rig: Rig) -> "Redis":
    password = rig.settings.redis.password
    return Redis.from_url(rig.settings.redis.url, password=password.get_secret_value() if password else None)


def _valkey_full(rig: Rig, run: Run) -> None:
    valkey = _valkey(rig)
    with run.outage():
        valkey.config_set("maxmemory-policy", "noeviction")
        valkey.config_set("maxmemory", "1")
        time.sleep(12)
        valkey.config_set("maxmemory", "0")
    time.sleep(2)


def _valkey_flushed(rig: Rig, run: Run) -> None:
    with run.outage():
        for _ in range(5):
            _valkey(rig).flushall()
            time.sleep(1)
    time.sleep(2)


def _valkey_paused(rig: Rig, run: Run) -> None:
    with run.outage():
        _valkey(rig).client_pause(20_000)
        time.sleep(21)


def _valkey_replica(rig: Rig, run: Run) -> None:
    """Of a master that is not there: reads are stale or refused, writes are refused."""
    valkey = _valkey(rig)
    with run.outage():
        valkey.replicaof("127.0.0.1", "1")
        time.sleep(12)
        valkey.replicaof("NO", "ONE")
    time.sleep(2)


def _column_added(rig: Rig, run: Run) -> None:
    """An administrator adds a column of theirs while readings come in; it stays, as a real one would."""
    with psycopg.connect(rig.settings.main_db.conninfo("owner"), autocommit=True) as conn:
        conn.execute("ALTER TABLE sensor_log ADD COLUMN IF NOT EXISTS note text")
    time.sleep(5)
