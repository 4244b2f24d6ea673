"""A guard that stays in a process of its own, as `pdm up` runs it."""

import asyncio

import pytest

from pdm.config import Settings
from pdm.relay_guard import News, RelayGuard


class Mistaken(RelayGuard):
    async def turn(self) -> None:
        raise ValueError("a programming error")


def test_a_mistake_of_ours_is_told_and_ends_no_guard() -> None:
    told: list[News] = []

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Mistaken(Settings(), told.append).run(), 0.05)

    asyncio.run(story())

    assert [str(news) for news in told] == ["relay: the guard failed with ValueError: a programming error"]
