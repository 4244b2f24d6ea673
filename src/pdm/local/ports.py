"""Which port each engine and role listens on: the last one, the usual one, or a free one. Binds nothing for good."""

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


def choose(
    usual: Mapping[str, int], previous: Mapping[str, int], pinned: Collection[str], is_free: Callable[[int], bool]
) -> dict[str, int]:
    """One port a name. A pinned name keeps its usual port; raises Misconfigured when that one is taken."""
    chosen: dict[str, int] = {}
    for name, port in usual.items():
        wanted = [port] if name in pinned else [previous.get(name, port), port, *_shifted(port)]
        free = (candidate for candidate in wanted if candidate not in chosen.values() and is_free(candidate))
        found = next(free, None)
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
