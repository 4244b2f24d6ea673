"""Who is told what, in any order of delivery: late is shown, hardly paged; nothing else is forgotten or doubled."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from tests.desk import Desk, episode

from pdm.store.inbox import Incoming

LIVES = (
    ("opened", "cleared"),
    ("opened", "eased"),
    ("opened", "escalated", "eased", "escalated", "cleared"),
    ("opened", "eased", "escalated"),
)
LATE = timedelta(minutes=3)
Told = tuple[str, int]


def send(desk: Desk) -> None:
    asyncio.run(desk.notifier().send_due())


def sent(desk: Desk) -> list[Told]:
    return desk.rows(
        "SELECT episode_id::text, seq FROM portal.notification WHERE state = 'sent' ORDER BY settled_at, id"
    )


def lives(draw: random.Random) -> list[list[Incoming]]:
    """Eight episodes, each on time or late as a whole."""
    now = datetime.now(UTC)
    return [
        episode(
            *draw.choice(LIVES),
            machine_id=f"machine-{n}",
            episode_id=UUID(int=n + 1),
            at=now - (LATE if draw.random() < 0.5 else timedelta(seconds=5)),
        )
        for n in range(8)
    ]


def is_late(life: list[Incoming]) -> bool:
    return datetime.now(UTC) - life[-1].event.appended_at > timedelta(minutes=2)


@pytest.mark.parametrize("seed", range(6))
def test_in_any_order_each_timely_transition_is_told_once(desk: Desk, seed: int) -> None:
    """Deliveries in pieces, again and again, out of order; the notifier runs in between and meets failing channels."""
    draw = random.Random(seed)
    made = lives(draw)
    deliveries = [item for life in made for item in life] * 2
    draw.shuffle(deliveries)
    while deliveries:
        count = draw.randint(1, 6)
        desk.take_in(deliveries[:count])
        deliveries = deliveries[count:]
        if draw.random() < 0.5:
            send(desk)
    send(desk)
    told = sent(desk)
    assert len(told) == len(set(told))
    for life in made:
        worth_telling = {(item.event.episode_id, item.event.seq) for item in life if item.event.event != "eased"}
        of_episode = {key for key in told if key[0] == life[0].event.episode_id}
        assert of_episode <= worth_telling
        if not is_late(life):
            assert of_episode == worth_telling


@pytest.mark.parametrize("seed", range(6))
def test_a_late_episode_pages_once_while_it_is_open_and_not_at_all_once_it_is_over(desk: Desk, seed: int) -> None:
    """All of a backlog is taken in before the notifier looks; the page is of the newest state that pages."""
    draw = random.Random(seed)
    made = lives(draw)
    desk.take_in([item for life in made for item in life])
    send(desk)
    told = sent(desk)
    for life in filter(is_late, made):
        pages = [seq for episode_id, seq in told if episode_id == life[0].event.episode_id]
        if life[-1].event.event == "cleared":
            assert pages == []
        else:
            assert pages == [max(item.event.seq for item in life if item.event.event != "eased")]


def test_what_cleared_meanwhile_is_told_as_cleared(desk: Desk) -> None:
    desk.take_in(episode("opened", "escalated", "cleared"))
    send(desk)
    assert [line.endswith("(이미 해소됨)") for line in desk.sent] == [True, True, False]


def test_an_opening_behind_an_eased_state_still_pages(desk: Desk) -> None:
    """A relay that starts over reads the outbox by its ids: `eased` may come first, and it pages nobody."""
    opened, eased = episode("opened", "eased")
    desk.take_in([eased])
    desk.take_in([opened])
    send(desk)
    assert len(desk.sent) == 1
