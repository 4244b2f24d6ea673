import socket
from collections.abc import Iterator

import pytest

from pdm.errors import Misconfigured
from pdm.local.ports import HOST, Claims, choose

USUAL = {"valkey": 6379, "portal": 8000}


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def claims() -> Iterator[Claims]:
    claims = Claims()
    yield claims
    claims.release()


def test_usual_ports_when_they_are_free() -> None:
    assert choose(USUAL, {}, (), lambda _: True) == USUAL


def test_a_taken_port_is_shifted_to_one_that_is_easy_to_recognise() -> None:
    assert choose(USUAL, {}, (), lambda port: port not in {6379, 16379}) == {"valkey": 16389, "portal": 8000}


def test_the_last_port_is_kept_even_when_the_usual_one_is_free_again() -> None:
    assert choose(USUAL, {"valkey": 16379}, (), lambda _: True)["valkey"] == 16379


def test_the_last_port_is_left_when_it_is_taken() -> None:
    assert choose(USUAL, {"valkey": 16379}, (), lambda port: port != 16379)["valkey"] == 6379


def test_no_port_is_given_twice() -> None:
    assert choose({"a": 5000, "b": 5000}, {}, (), lambda _: True) == {"a": 5000, "b": 15000}


def test_a_pinned_port_is_never_replaced() -> None:
    with pytest.raises(Misconfigured, match="port 8000 of portal is taken"):
        choose(USUAL, {"portal": 18000}, ["portal"], lambda port: port != 8000)


def test_a_port_in_use_cannot_be_claimed(listener: int, claims: Claims) -> None:
    assert not claims.take(listener)


def test_a_claimed_port_is_refused_to_another_stack_until_released(listener: int, claims: Claims) -> None:
    other, port = Claims(), _free_port()
    assert claims.take(port)
    assert not other.take(port)
    claims.release()
    assert other.take(port)
    other.release()


def test_an_engine_can_listen_on_a_claimed_port(claims: Claims) -> None:
    port = _free_port()
    assert claims.take(port)
    socket.create_server((HOST, port)).close()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])
