"""Connections that a network holds open without passing anything on."""

import random
import time

import psycopg
import pytest
from tests.faults.engines import free_port
from tests.faults.proxy import HOST, Loop, Proxy, Weather

from pdm.config import Settings
from pdm.store.pool import PunctualConnection


class Hasty(PunctualConnection):
    answer_timeout_s = 1.0


def test_a_server_that_answers_nothing_is_given_up(stack: Settings) -> None:
    loop = Loop()
    port = int(stack.ai_db.url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(loop, free_port(), port, random.Random(0))
    proxy.start()
    try:
        address = stack.ai_db.conninfo("portal").replace(f"{HOST}:{port}", f"{HOST}:{proxy.port}")
        with Hasty.connect(address) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
            proxy.set(Weather(is_black_hole=True))
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError, match="no answer within 1 s"):
                conn.execute("SELECT 2")
            assert time.monotonic() - began < 5
            assert conn.closed
    finally:
        proxy.stop()
        loop.close()
