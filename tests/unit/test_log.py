"""An absent broker must not fill the disk with its library's complaints."""

import logging

from pdm.log import _Thinned


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, None, None)


def test_a_librarys_line_is_told_once_in_half_a_minute() -> None:
    now_s = [0.0]
    thinned = _Thinned(lambda: now_s[0])
    told = []
    for second in range(61):
        now_s[0] = float(second)
        told.append(thinned.filter(record("aiokafka.conn", "Unable to connect to %s")))
    assert [second for second, is_told in enumerate(told) if is_told] == [0, 30, 60]


def test_our_own_lines_and_other_lines_always_pass() -> None:
    thinned = _Thinned(lambda: 0.0)
    assert all(thinned.filter(record("pdm.broker", "again")) for _ in range(3))
    assert thinned.filter(record("aiokafka.conn", "one"))
    assert thinned.filter(record("aiokafka.conn", "another"))
