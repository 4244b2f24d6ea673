"""Which port each engine and role listens on: the last one, the usual one, or a free one. Listens on none itself."""

import socket
from collections.abc import Callable, Collection, Mapping

from pdm.errors import Misconfigured

HOST = "127.0.0.1"
USUAL = {
    "postgres-main": 5432,
    "postgres-ai": 5433,
    "valkey": 6379,
    "kafka": 9092,
    "kafka-controller": 9093,
    "connect": 8083,
}
SHIFT = 10_000  # 5432 becomes 15432: easy to recognise, and below the range from which systems lend ports
STEP = 10
CANDIDATES = 100


class Claims:
    """Ports that no other stack of this machine will choose, from before our engines listen until the stack ends.

    A claim on a TCP port is the UDP port of the same number: one holder, any user, free again when the process ends.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self, port: int) -> bool:
        """False when the port is in use or claimed."""
        if not is_free(port):
            return False
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((HOST, port))
        except OSError:
            claim.close()
            return False
        self._held.append(claim)
        return True

    def release(self) -> None:
        while self._held:
            self._held.pop().close()


def choose(
    usual: Mapping[str, int], previous: Mapping[str, int], pinned: Collection[str], take: Callable[[int], bool]
) -> dict[str, int]:
    """One port a name; each was taken. A pinned name keeps its usual port. Raises Misconfigured when none is left."""
    chosen: dict[str, int] = {}
    for name, port in usual.items():
        wanted = [port] if name in pinned else [previous.get(name, port), port, *_shifted(port)]
        found = next((candidate for candidate in wanted if candidate not in chosen.values() and take(candidate)), None)
        if found is None:
            raise Misconfigured(f"port {port} of {name} is taken", hint="Free it, or set another one.")
        chosen[name] = found
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.settimeout(0.3)
        if probe.connect_ex((HOST, port)) == 0:  # a listener on all addresses does not stop a bind everywhere
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _shifted(port: int) -> list[int]:
    return [port + SHIFT + STEP * n for n in range(CANDIDATES)]
