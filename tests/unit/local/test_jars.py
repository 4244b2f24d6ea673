import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pdm.errors import PdmError, Retryable
from pdm.local.jars import Jar, have_all, pinned, version_of

CONTENT = b"a jar"
JAR = Jar("org.example.kafka", "broker", "4.3.1", hashlib.sha256(CONTENT).hexdigest())
CLOSED = "http://127.0.0.1:9"  # discard: nothing listens there


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An HTTP server over a folder laid out as a Maven repository."""
    root = tmp_path / "mirror"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", root
    server.shutdown()
    thread.join()
    server.server_close()


def _publish(repository: Path, content: bytes = CONTENT) -> None:
    path = JAR.path_in(repository)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def _have(repository: Path, mirror: str, on_missing: Callable[[int], None] = lambda _: None) -> list[Path]:
    return have_all([JAR], repository, mirror, threading.Event(), on_missing)


def test_every_pinned_jar_has_a_coordinate_and_a_hash() -> None:
    assert all(len(jar.sha256) == 64 and jar.coordinate.count(":") == 2 for jar in pinned())
    assert len({(jar.group, jar.artifact) for jar in pinned()}) == len(pinned())
    assert version_of("kafka-clients").startswith("4.")
    assert version_of("debezium-connector-postgres").endswith(".Final")


def test_a_missing_jar_is_fetched_once_and_then_needs_no_network(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, root = mirror
    _publish(root)
    repository, missing = tmp_path / "repository", list[int]()
    assert _have(repository, address, missing.append) == [JAR.path_in(repository)]
    assert _have(repository, CLOSED, missing.append) == [JAR.path_in(repository)]
    assert missing == [1]
    assert [path.name for path in repository.iterdir()] == ["org"]


def test_a_damaged_jar_in_the_cache_is_fetched_again(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, root = mirror
    _publish(root)
    repository = tmp_path / "repository"
    _publish(repository, b"half a j")
    _have(repository, address)
    assert JAR.path_in(repository).read_bytes() == CONTENT


def test_another_file_than_the_pinned_one_is_refused(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, root = mirror
    _publish(root, b"a trojan")
    with pytest.raises(PdmError, match=r"org\.example\.kafka:broker:4\.3\.1 as fetched is not the file"):
        _have(tmp_path / "repository", address)
    assert not JAR.path_in(tmp_path / "repository").exists()


def test_an_unreachable_mirror_is_one_clear_line_without_its_address(tmp_path: Path) -> None:
    with pytest.raises(Retryable) as raised:
        _have(tmp_path / "repository", "http://user:password@127.0.0.1:9/maven")
    text = str(raised.value)
    assert "org.example.kafka:broker:4.3.1 could not be fetched from the mirror (no connection)" in text
    assert "password" not in text
    assert "PDM_LOCAL__MAVEN_MIRROR" in raised.value.hint


def test_a_jar_that_the_mirror_lacks_is_named(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, root = mirror
    root.mkdir()
    with pytest.raises(Retryable, match=r"broker:4\.3\.1 could not be fetched from the mirror \(not there\)"):
        _have(tmp_path / "repository", address)


def test_fetching_ends_when_the_stack_stops(mirror: tuple[str, Path], tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Retryable, match="stopped"):
        have_all([JAR], tmp_path / "repository", mirror[0], stopping, lambda _: None)
