"""The alert chain: what an episode must have left behind, and what is only on its way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from pdm.audit.alerts import OnTopic, check_chain, check_truth, episodes_since, unknown_records
from pdm.audit.findings import Scope, Tally, Trouble
from pdm.events import encode
from pdm.store.audit_alerts import Chain, EpisodeRow, Outgoing, Told
from pdm.store.inbox import Incoming
from tests.desk import episode
from tests.records import NOON

LATER = NOON + timedelta(minutes=1)
SCOPE = Scope()
ANOTHER = uuid4()


def chain_of(incoming: Sequence[Incoming]) -> Chain:
    """All that a closed or open episode leaves, everything told."""
    first, last = incoming[0].event, incoming[-1].event
    episode_id = UUID(first.episode_id)
    is_over = last.event == "cleared"
    row = EpisodeRow(
        episode_id,
        first.machine_id,
        last.seq,
        "critical",
        first.timestamp,
        first.detected_at,
        last.timestamp if is_over else None,
    )
    return Chain(
        taken_at=LATER,
        episodes=[row],
        outbox=[
            Outgoing(item.event_id, first.machine_id, encode(item.event).decode(), item.event.timestamp)
            for item in incoming
        ],
        inbox=frozenset(item.event_id for item in incoming),
        alerts={episode_id: last.seq},
        notifications=[
            Told(item.event_id, episode_id, item.event.seq, "log", "sent", "")
            for item in incoming
            if item.event.event != "eased"
        ],
    )


def on_topic(chain: Chain) -> list[OnTopic]:
    return [OnTopic(row.id, row.key.encode(), row.payload.encode(), row.created_at) for row in chain.outbox]


def told(chain: Chain, records: Sequence[OnTopic], scope: Scope = SCOPE) -> list[tuple[str, str]]:
    tally = Tally()
    check_chain(chain, records, scope, tally)
    return [(finding.check, finding.what.partition(": ")[0]) for finding in tally.findings()]


@pytest.fixture
def whole() -> Chain:
    return chain_of(episode("opened", "escalated", "eased", "cleared", at=NOON))


def test_a_whole_chain_is_well(whole: Chain) -> None:
    assert told(whole, on_topic(whole)) == []
    still_open = chain_of(episode("opened", at=NOON))
    assert told(still_open, on_topic(still_open) * 2) == []  # a record twice is the relay's right


BREAKS: list[tuple[Callable[[Chain], Chain], tuple[str, str]]] = [
    (lambda c: replace(c, outbox=c.outbox[1:]), ("A", "an event is not in the outbox")),
    (
        lambda c: replace(c, outbox=[*c.outbox, replace(c.outbox[0], id=ANOTHER)], inbox=c.inbox | {ANOTHER}),
        ("D", "the outbox holds an event twice"),
    ),
    (
        lambda c: replace(c, episodes=[replace(c.episodes[0], closed_at=None)]),
        ("A", "an event stands in a wrong place of its episode"),
    ),
    (lambda c: replace(c, episodes=[]), ("A", "outbox rows without an episode")),
    (lambda c: replace(c, inbox=c.inbox - {c.outbox[1].id}), ("A", "an event is not in the portal's inbox")),
    (lambda c: replace(c, alerts={}), ("A", "an episode has no alert at the portal")),
    (lambda c: replace(c, alerts=dict.fromkeys(c.alerts, 3)), ("A", "an alert at the portal is behind its episode")),
    (lambda c: replace(c, alerts=dict.fromkeys(c.alerts, 5)), ("A", "an alert at the portal is ahead of its episode")),
    (lambda c: replace(c, notifications=c.notifications[1:]), ("A", "an event has no notification")),
    (
        lambda c: replace(c, notifications=[*c.notifications, c.notifications[0]]),
        ("D", "an event has several notifications"),
    ),
    (
        lambda c: replace(c, notifications=[*c.notifications, replace(c.notifications[0], seq=3)]),
        ("A", "an event that tells nothing has a notification"),
    ),
    (
        lambda c: replace(c, notifications=[replace(c.notifications[0], state="failed"), *c.notifications[1:]]),
        ("A", "a notification was not sent"),
    ),
]


@pytest.mark.parametrize(("break_it", "wanted"), BREAKS, ids=[wanted[1] for _, wanted in BREAKS])
def test_each_break_is_told(whole: Chain, break_it: Callable[[Chain], Chain], wanted: tuple[str, str]) -> None:
    broken = break_it(whole)
    assert told(broken, [*on_topic(whole), *on_topic(broken)]) == [wanted]


def test_a_record_that_is_missing_or_differs_is_told(whole: Chain) -> None:
    first, *rest = on_topic(whole)
    assert told(whole, rest) == [("A", "an outbox row is not on anomaly-alerts")]
    spoilt = replace(first, value=b"{}")
    assert told(whole, [spoilt, *rest]) == [("A", "a record on anomaly-alerts differs from its outbox row")]


def test_an_episode_whose_ids_are_random_is_told(whole: Chain) -> None:
    rows = [replace(row, id=uuid4()) for row in whole.outbox]
    broken = replace(whole, outbox=rows, inbox=frozenset(row.id for row in rows))
    assert set(told(broken, on_topic(broken))) == {("A", "an outbox row is no event of its episode")}


def test_an_episode_belongs_to_the_scope_by_either_clock(whole: Chain) -> None:
    hour = timedelta(hours=1)
    slow = replace(whole, episodes=[replace(whole.episodes[0], detected_at=NOON - hour)])  # a clock of inference
    assert episodes_since(slow, NOON) == slow.episodes
    assert episodes_since(slow, NOON + hour) == []


def test_what_is_on_its_way_is_not_missed(whole: Chain) -> None:
    just_committed = replace(whole, taken_at=NOON + timedelta(seconds=4), inbox=frozenset(), alerts={})
    assert told(just_committed, []) == []
    waiting = replace(whole, notifications=[replace(row, state="pending") for row in whole.notifications])
    assert told(waiting, on_topic(whole)) == []


def test_late_news_may_be_dropped_and_nothing_else(whole: Chain) -> None:
    for detail, wanted in (("late and over", []), ("", [("A", "a notification was not sent")])):
        rows = [replace(whole.notifications[0], state="dropped", detail=detail), *whole.notifications[1:]]
        assert told(replace(whole, notifications=rows), on_topic(whole)) == wanted


def test_a_pruned_outbox_is_no_loss(whole: Chain) -> None:
    aged = replace(whole, taken_at=NOON + timedelta(days=8), outbox=[], alerts={}, notifications=[])
    assert told(aged, on_topic(whole)) == []
    assert list(unknown_records(on_topic(whole), aged, SCOPE)) == []


def test_a_record_from_nowhere_is_told_once_and_by_its_id(whole: Chain) -> None:
    (stranger,) = episode("opened", episode_id=ANOTHER, at=NOON)
    record = OnTopic(stranger.event_id, b"machine-001", encode(stranger.event), NOON)
    assert [found for _, found in unknown_records([*on_topic(whole), record], whole, SCOPE)] == [record]
    assert list(unknown_records([record], whole, Scope(prefix="other-"))) == []
    missed = replace(whole, outbox=whole.outbox[1:])  # told as a missing row already
    assert list(unknown_records(on_topic(whole), missed, SCOPE)) == []


def test_every_true_fault_has_one_episode_and_no_episode_is_without() -> None:
    row = chain_of(episode("opened", "cleared", at=NOON)).episodes[0]
    hour = timedelta(hours=1)
    fault = Trouble(row.machine_id, NOON - timedelta(seconds=3), NOON + timedelta(seconds=1))
    cases: list[tuple[list[EpisodeRow], list[Trouble], list[str]]] = [
        ([row], [fault], []),
        ([row], [replace(fault, ended_at=None)], []),
        ([], [fault], ["a true fault has no episode"]),
        ([row], [], ["an episode without a true fault"]),
        ([row, replace(row, episode_id=uuid4())], [fault], ["a true fault has several episodes: 2"]),
        ([row], [fault, Trouble(row.machine_id, NOON + hour, None)], ["a true fault has no episode"]),
        ([replace(row, closed_at=None)], [fault, Trouble(row.machine_id, NOON + hour, None)], []),
    ]
    for episodes, truth, wanted in cases:
        tally = Tally()
        check_truth(episodes, truth, tally)
        assert [finding.what for finding in tally.findings()] == wanted


def test_what_only_one_look_found_is_not_told() -> None:
    first, second, both = Tally(), Tally(), Tally()
    first.add("A", "x", "m", NOON, "seq 1")
    first.add("A", "x", "n", NOON)
    second.add("A", "x", "m", NOON, "seq 1, still")
    second.add("A", "y", "n", NOON)
    both.add_those_of_both(first, second)
    assert [(finding.what, finding.machine_id) for finding in both.findings()] == [("x: seq 1, still", "m")]
