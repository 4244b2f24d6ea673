"""Whether an engine answers on its port, asked in its own protocol. Reads nothing and changes nothing."""

import socket
import struct
import urllib.error
import urllib.request

from pdm.local.ports import HOST

TIMEOUT_S = 1.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never ask a proxy for this machine


def postgres_answers(port: int) -> bool:
    """A server that is starting up or recovering answers with an error; a ready one asks for the password."""
    body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
    return _exchange(port, struct.pack("!i", len(body) + 4) + body)[:1] == b"R"


def valkey_answers(port: int) -> bool:
    """Without a password it says NOAUTH, which is answer enough."""
    return _exchange(port, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))


def kafka_answers(port: int) -> bool:
    """Asks for the API versions, which a broker serves once it takes requests."""
    correlation = 7
    body = struct.pack("!hhih", 18, 0, correlation, -1)
    answer = _exchange(port, struct.pack("!i", len(body)) + body)
    return answer[4:8] == struct.pack("!i", correlation)


def connect_answers(port: int) -> bool:
    """A worker that has not yet joined its group answers 503."""
    try:
        with _DIRECT.open(f"http://{HOST}:{port}/health", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _exchange(port: int, request: bytes) -> bytes:
    """The first bytes of the answer; empty when there is none."""
    try:
        with socket.create_connection((HOST, port), TIMEOUT_S) as connection:
            connection.sendall(request)
            return connection.recv(64)
    except OSError:
        return b""
