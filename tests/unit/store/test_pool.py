"""Connections of processes that stay."""

import socket
import threading
from collections.abc import Iterator

import pytest

from pdm.errors import Retryable
from pdm.store.pool import connect

WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"  # no password is asked for; ready for a query


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A server that lets one client in and answers nothing from then on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(1024)
                client.sendall(WELCOME)
                over.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join(10)


def test_a_connection_with_an_answer_timeout_gives_up_on_a_mute_server(mute_port: int) -> None:
    address = f"postgresql://any@127.0.0.1:{mute_port}/any?sslmode=disable&gssencmode=disable"
    with (
        pytest.raises(Retryable, match=r"no answer within 0\.2 s"),
        connect(address, "test", answer_timeout_s=0.2) as conn,
    ):
        conn.execute("SELECT 1")
