"""The jars of Kafka, Connect and Debezium: pinned by hash, fetched once into the local Maven repository.

Resolves no dependency at run time: `jars.lock` names every jar.
"""

import hashlib
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import requests
from jgo.constants import default_maven_repo
from jgo.maven import MavenContext

from pdm.errors import PdmError, Retryable

ATTEMPTS = 3
DOWNLOADS = 8
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"

    def path_in(self, repository: Path) -> Path:
        return repository.joinpath(
            *self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}.jar"
        )


def pinned() -> list[Jar]:
    """Of `jars.lock`, whose lines read group:artifact:version and the SHA-256."""
    lines = resources.files("pdm.local").joinpath("jars.lock").read_text().splitlines()
    return [Jar(*line.replace(" ", ":").split(":")) for line in lines]


def version_of(artifact: str) -> str:
    return next(jar.version for jar in pinned() if jar.artifact == artifact)


def class_path(mirror: str, stopping: threading.Event, on_missing: Callable[[int], None]) -> list[Path]:
    """Of Kafka, Connect and Debezium. Raises PdmError."""
    return have_all(pinned(), default_maven_repo(), mirror, stopping, on_missing)


def have_all(
    jars: list[Jar], repository: Path, mirror: str, stopping: threading.Event, on_missing: Callable[[int], None]
) -> list[Path]:
    """Every jar's place, its hash checked; `on_missing` hears how many must be fetched first. Raises PdmError."""
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        intact = list(pool.map(lambda jar: _is_intact(jar, jar.path_in(repository)), jars))
        missing = [jar for jar, is_intact in zip(jars, intact, strict=True) if not is_intact]
        if missing:
            on_missing(len(missing))
            _fetch_all(missing, repository, mirror, pool, stopping)
    return [jar.path_in(repository) for jar in jars]


def _fetch_all(
    missing: list[Jar], repository: Path, mirror: str, pool: ThreadPoolExecutor, stopping: threading.Event
) -> None:
    repository.mkdir(parents=True, exist_ok=True)
    # A download is moved to its place only when whole and right: no other process ever sees half a jar.
    with tempfile.TemporaryDirectory(prefix=".pdm-", dir=repository) as staging:
        remote = {"mirror": mirror.rstrip("/")} if mirror else None
        context = MavenContext(repo_cache=Path(staging), remote_repos=remote)
        fetches = [pool.submit(_fetch, jar, context, repository) for jar in missing]
        try:
            for fetch in fetches:
                while not stopping.is_set() and wait([fetch], POLL_S).not_done:
                    pass
                if stopping.is_set():
                    raise Retryable("stopped while fetching jars")
                fetch.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch(jar: Jar, context: MavenContext, repository: Path) -> None:
    draft = _download(jar, context)
    if not _is_intact(jar, draft):
        raise PdmError(
            f"{jar.coordinate} as fetched is not the file that pdm was built with (wrong SHA-256)",
            hint="A mirror or proxy changed it: set PDM_LOCAL__MAVEN_MIRROR to one that can be trusted.",
        )
    place = jar.path_in(repository)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(place)


def _download(jar: Jar, context: MavenContext) -> Path:
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            return Path(artifact.resolve())
        except (OSError, RuntimeError, requests.RequestException) as error:
            jar.path_in(context.repo_cache).unlink(missing_ok=True)  # half a file would pass for a whole one
            reason = _reason(error)
    source = "the mirror" if "mirror" in context.remote_repos else "Maven Central"
    raise Retryable(
        f"Kafka {version_of('kafka-clients')} and Debezium {version_of('debezium-connector-postgres')} cannot be had: "
        f"{jar.coordinate} could not be fetched from {source} ({reason})",
        hint="Needed once, then cached. Set HTTPS_PROXY or PDM_LOCAL__MAVEN_MIRROR, or go online.",
    )


def _reason(error: Exception) -> str:
    """Short, and without the address: a mirror's may hold a password."""
    named = {
        requests.exceptions.ProxyError: "the proxy does not answer",
        requests.exceptions.SSLError: "its certificate is not trusted",
        requests.ConnectionError: "no connection",
        requests.Timeout: "no answer",
        RuntimeError: "not there",
    }
    return next((text for kind, text in named.items() if isinstance(error, kind)), type(error).__name__)


def _is_intact(jar: Jar, path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False
