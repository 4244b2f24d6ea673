"""A: the chain of an alert, from the true fault through episode, outbox, topic and inbox to the people told. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from pdm.audit.findings import Scope, Tally, Trouble
from pdm.config import ALERT_TOPIC
from pdm.errors import BadRecord
from pdm.events import AlertEvent, decode_event
from pdm.inference.episode import episode_id as id_by_opening
from pdm.store.audit_alerts import Chain, EpisodeRow, Outgoing, Told
from pdm.store.episodes import OUTBOX_KEEP_DAYS
from pdm.verdict import is_worth_telling

SETTLED_AFTER = timedelta(seconds=5)  # 34 × the relay's slowest seen, 149 ms: younger events may be on their way
CLOCKS_DIFFER = timedelta(hours=2)  # by more than that no clock of ours is wrong


@dataclass(frozen=True, slots=True)
class OnTopic:
    """A record of `anomaly-alerts`. `id` is None where its header is no id."""

    id: UUID | None
    key: bytes | None
    value: bytes | None
    appended_at: datetime


@dataclass(frozen=True, slots=True)
class Out:
    """An outbox row with the event it carries."""

    row: Outgoing
    event: AlertEvent


def check_chain(chain: Chain, records: Sequence[OnTopic], scope: Scope, tally: Tally) -> dict[str, int]:
    """Everything between the episode and the people; returns counts."""
    outs = list(_decoded(chain.outbox, tally))
    of_episode: dict[UUID, list[Out]] = {}
    for out in outs:
        of_episode.setdefault(UUID(out.event.episode_id), []).append(out)
    episodes = episodes_since(chain, scope.since)
    _check_outbox(chain, episodes, of_episode, tally)
    settled = [out for out in outs if _is_due(out.row, chain, scope)]
    _check_topic(settled, records, tally)
    _check_portal(settled, chain, tally)
    pending = _check_notifications(settled, chain.notifications, scope.channels, tally)
    return {
        "episodes": len(episodes),
        "events": len(outs),
        "alert_records": len(records),
        "notifications": len(chain.notifications),
        "notifications_pending": pending,
    }


def episodes_since(chain: Chain, since: datetime | None) -> list[EpisodeRow]:
    """Those detected from `since` on, by inference's clock or, as that may be wrong, by the database's."""
    if since is None:
        return list(chain.episodes)
    opened = {row.id for row in chain.outbox if row.created_at >= since}
    return [
        episode
        for episode in chain.episodes
        if episode.detected_at >= since or uuid5(episode.episode_id, "1") in opened
    ]


def check_truth(episodes: Sequence[EpisodeRow], truth: Sequence[Trouble], tally: Tally) -> None:
    """One episode for each true fault, and none without."""
    for trouble in truth:
        found = [episode for episode in episodes if _overlap(episode, trouble)]
        own = [episode for episode in found if episode.opened_at >= trouble.began_at]
        if not found:
            tally.add("A", "a true fault has no episode", trouble.machine_id, trouble.began_at)
        elif len(own) > 1:
            tally.add("A", "a true fault has several episodes", trouble.machine_id, trouble.began_at, f"{len(own)}")
    for episode in episodes:
        if not any(_overlap(episode, trouble) for trouble in truth):
            tally.add("A", "an episode without a true fault", episode.machine_id, episode.opened_at)


def unknown_records(records: Iterable[OnTopic], chain: Chain, scope: Scope) -> Iterator[tuple[UUID | None, OnTopic]]:
    """Records of the scope that no outbox row read before them explains; ids to ask for once more."""
    known = {row.id for row in chain.outbox}
    episodes = {episode.episode_id for episode in chain.episodes}
    pruned_before = chain.taken_at - timedelta(days=OUTBOX_KEEP_DAYS) + CLOCKS_DIFFER
    for record in records:
        is_older = scope.since is not None and record.appended_at < scope.since
        if record.id in known or is_older or not (record.key or b"").startswith(scope.prefix.encode()):
            continue
        if record.id is None or not _is_told_elsewhere(record, pruned_before, episodes):
            yield record.id, record


def tell_unknown(record: OnTopic, tally: Tally) -> None:
    text = f"a record on {ALERT_TOPIC} came from no outbox row"
    machine_id = (record.key or b"").decode(errors="replace")
    tally.add("A", text, machine_id, record.appended_at, f"id {record.id}")


def _is_told_elsewhere(record: OnTopic, pruned_before: datetime, episodes: Set[UUID]) -> bool:
    """Pruned, by the event's own age (a relay that starts over sends old rows again); or its row is missed already."""
    try:
        event = decode_event(record.value or b"")
        is_known = UUID(event.episode_id) in episodes and record.id == uuid5(UUID(event.episode_id), str(event.seq))
    except (BadRecord, ValueError):
        return False
    return is_known or event.detected_at < pruned_before


def _decoded(rows: Iterable[Outgoing], tally: Tally) -> Iterator[Out]:
    for row in rows:
        try:
            event = decode_event(row.payload.encode())
            UUID(event.episode_id)
        except (BadRecord, ValueError) as error:
            tally.add("A", "an outbox row is no alert event", row.key, row.created_at, f"id {row.id}, {error}")
        else:
            yield Out(row, event)


def _is_due(row: Outgoing, chain: Chain, scope: Scope) -> bool:
    return row.created_at < chain.taken_at - SETTLED_AFTER and (scope.since is None or row.created_at >= scope.since)


def _overlap(episode: EpisodeRow, trouble: Trouble) -> bool:
    if episode.machine_id != trouble.machine_id:
        return False
    began_before_end = trouble.ended_at is None or episode.opened_at <= trouble.ended_at
    return began_before_end and (episode.closed_at is None or episode.closed_at >= trouble.began_at)


def _check_outbox(
    chain: Chain, episodes: Iterable[EpisodeRow], of_episode: Mapping[UUID, Sequence[Out]], tally: Tally
) -> None:
    kept_from = chain.taken_at - timedelta(days=OUTBOX_KEEP_DAYS) + CLOCKS_DIFFER
    for episode in episodes:
        _check_episode(episode, of_episode.get(episode.episode_id, ()), kept_from, tally)
    known = {episode.episode_id for episode in chain.episodes}
    for episode_id, outs in of_episode.items():
        if episode_id not in known:
            tally.add("A", "outbox rows without an episode", outs[0].row.key, outs[0].row.created_at, f"{episode_id}")
    is_open = Counter(episode.machine_id for episode in chain.episodes if episode.closed_at is None)
    for machine_id, count in is_open.items():
        if count > 1:
            tally.add("D", "a machine has several open episodes", machine_id, None, f"{count}")


def _check_episode(episode: EpisodeRow, outs: Sequence[Out], kept_from: datetime, tally: Tally) -> None:
    machine_id, at = episode.machine_id, episode.opened_at
    rows: dict[int, list[Out]] = {}
    for out in outs:
        rows.setdefault(out.event.seq, []).append(out)
    for seq, same in rows.items():
        wanted = uuid5(episode.episode_id, str(seq))
        if len(same) > 1:
            tally.add("D", "the outbox holds an event twice", machine_id, at, f"seq {seq} of {episode.episode_id}")
        elif same[0].row.id != wanted or seq > episode.seq:
            tally.add("A", "an outbox row is no event of its episode", machine_id, at, f"id {same[0].row.id}")
    for seq in range(1, episode.seq + 1):
        # Only rows as old as the outbox keeps them may be gone: those before the episode's oldest row, if it is old.
        if seq not in rows and (episode.detected_at >= kept_from or any(other < seq for other in rows)):
            tally.add("A", "an event is not in the outbox", machine_id, at, f"seq {seq} of {episode.episode_id}")
    if 1 in rows and episode.episode_id != _id_by_opening(rows[1][0].event):
        tally.add("A", "an episode's id does not come from what opened it", machine_id, at, f"{episode.episode_id}")
    _check_order(episode, rows, tally)


def _id_by_opening(event: AlertEvent) -> UUID:
    return id_by_opening(event.machine_id, event.timestamp, round(event.appended_at.timestamp() * 1000))


def _check_order(episode: EpisodeRow, rows: Mapping[int, Sequence[Out]], tally: Tally) -> None:
    wrong = [
        f"seq {seq} is {out.event.event}"
        for seq, same in sorted(rows.items())
        for out in same
        if seq <= episode.seq
        and (
            (out.event.event == "opened") != (seq == 1)
            or (out.event.event == "cleared") != (seq == episode.seq and episode.closed_at is not None)
        )
    ]
    for detail in wrong:
        tally.add("A", "an event stands in a wrong place of its episode", episode.machine_id, episode.opened_at, detail)


def _check_topic(settled: Iterable[Out], records: Iterable[OnTopic], tally: Tally) -> None:
    values: dict[UUID | None, set[bytes | None]] = {}
    for record in records:
        values.setdefault(record.id, set()).add(record.value)
    for out in settled:
        found = values.get(out.row.id)
        if found is None:
            tally.add("A", f"an outbox row is not on {ALERT_TOPIC}", *_place(out))
        elif found != {out.row.payload.encode()}:
            tally.add("A", f"a record on {ALERT_TOPIC} differs from its outbox row", *_place(out))


def _check_portal(settled: Iterable[Out], chain: Chain, tally: Tally) -> None:
    newest: dict[UUID, Out] = {}
    for out in settled:
        if out.row.id not in chain.inbox:
            tally.add("A", "an event is not in the portal's inbox", *_place(out))
        best = newest.get(UUID(out.event.episode_id))
        if best is None or out.event.seq > best.event.seq:
            newest[UUID(out.event.episode_id)] = out
    for episode_id, out in newest.items():
        seq = chain.alerts.get(episode_id)
        if seq is None:
            tally.add("A", "an episode has no alert at the portal", *_place(out))
        elif seq < out.event.seq:
            tally.add("A", "an alert at the portal is behind its episode", *_place(out))
    for episode in chain.episodes:
        if chain.alerts.get(episode.episode_id, 0) > episode.seq:
            tally.add("A", "an alert at the portal is ahead of its episode", episode.machine_id, episode.opened_at)


def _check_notifications(
    settled: Iterable[Out], notifications: Sequence[Told], channels: Sequence[str], tally: Tally
) -> int:
    """Returns how many are still to be sent."""
    rows: dict[tuple[str, int, str], list[Told]] = {}
    for told in notifications:
        rows.setdefault((str(told.episode_id), told.seq, told.channel), []).append(told)
    for out in settled:
        for channel in channels:
            same = rows.get((out.event.episode_id, out.event.seq, channel), [])
            _check_told(out, channel, same, tally)
    return sum(told.state == "pending" for told in notifications)


def _check_told(out: Out, channel: str, same: Sequence[Told], tally: Tally) -> None:
    machine_id, at, which = _place(out)
    detail = f"{which}, channel {channel}"
    if not is_worth_telling(out.event):
        if same:
            tally.add("A", "an event that tells nothing has a notification", machine_id, at, detail)
    elif not same:
        tally.add("A", "an event has no notification", machine_id, at, detail)
    elif len(same) > 1:
        tally.add("D", "an event has several notifications", machine_id, at, detail)
    elif same[0].state == "failed" or (same[0].state == "dropped" and not same[0].detail.startswith("late")):
        tally.add("A", "a notification was not sent", machine_id, at, f"{detail}, {same[0].state}: {same[0].detail}")


def _place(out: Out) -> tuple[str, datetime, str]:
    event = out.event
    return event.machine_id, event.timestamp, f"{event.event}, seq {event.seq} of {event.episode_id}"
