"""One fault's way from the machine to the portal: what was seen of it, when, and whether it agrees. Pure.

Every time is of the watcher's own monotonic clock, s: the engines' clocks may differ, one clock does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pdm.config import ALERT_TOPIC, RAW_TOPIC
from pdm.errors import BadRecord, PdmError
from pdm.events import AlertEvent, Reading, decode_event
from pdm.store.alerts import Alert
from pdm.store.history import StoredReading
from pdm.store.relay import OutboxRow

HopName = Literal["sent", "stored", "detected", "committed", "relayed", "portal", "told"]

BOUNDS: dict[HopName, tuple[float, str]] = {  # s after the hop before, and what is missing then
    "sent": (10.0, f"no reading on {RAW_TOPIC}"),
    "stored": (20.0, "no row in sensor_log"),
    "detected": (45.0, "no episode in anomaly_history"),  # the one-minute mean needs 30 s
    "committed": (5.0, "no row in the outbox"),
    "relayed": (20.0, f"no record on {ALERT_TOPIC}"),
    "portal": (20.0, "no received alert at the portal"),
    "told": (20.0, "no notification sent by the portal"),
}


class MissingHop(PdmError):
    """The alert did not come further than the hop before `hop`."""

    def __init__(self, hop: HopName) -> None:
        bound_s, missing = BOUNDS[hop]
        super().__init__(f"{hop}: {missing} within {bound_s:.0f} s", hint="`pdm doctor` tells which part stands still.")
        self.hop = hop


@dataclass(frozen=True, slots=True)
class Hop:
    name: HopName
    at_s: float
    detail: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A reading as it stands on the topic."""

    at_s: float
    reading: Reading
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """An alert event as it stands on the topic."""

    at_s: float
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Journey:
    """What has been seen so far. Readings are known by their own time, events by their outbox id."""

    sent: dict[datetime, Sent] = field(default_factory=dict)
    stored: dict[datetime, tuple[float, StoredReading]] = field(default_factory=dict)
    detected: tuple[float, Alert] | None = None
    committed: tuple[float, OutboxRow] | None = None
    relayed: dict[str, Relayed] = field(default_factory=dict)
    received_at_s: float | None = None
    told: tuple[float, str] | None = None  # the line that went out to people

    @property
    def event(self) -> Relayed | None:
        """The record that the outbox row became."""
        return self.relayed.get(self.committed[1].id) if self.committed else None

    def hops(self) -> Iterator[Hop]:
        """The hops seen, in order, up to the first that is not. Sent and stored are those of the first reading."""
        if not self.sent:
            return
        first = self.sent[min(self.sent)]
        stored = self.stored.get(first.reading.timestamp)
        where = f"{RAW_TOPIC} partition {first.partition} offset {first.offset}"
        # What is stored was sent before: the first look at a topic may come later than the first look at a table.
        sent_at_s = min(first.at_s, stored[0]) if stored else first.at_s
        yield Hop("sent", sent_at_s, f"torque {_number(first.reading.torque_nm)} Nm, {where}")
        if stored is None:
            return
        yield Hop("stored", stored[0], "the same values in sensor_log")
        yield from self._hops_of_episode()

    def _hops_of_episode(self) -> Iterator[Hop]:
        if self.detected is None:
            return
        alert = self.detected[1]
        yield Hop("detected", self.detected[0], f"{alert.failure_type}, {alert.severity}: {'; '.join(alert.reasons)}")
        if self.committed is None:
            return
        yield Hop("committed", self.committed[0], f"outbox row {self.committed[1].id}")
        if self.event is None:
            return
        yield Hop("relayed", self.event.at_s, f"{ALERT_TOPIC}, header id {self.committed[1].id}")
        if self.received_at_s is None:
            return
        yield Hop("portal", self.received_at_s, f"/api/alerts/{alert.episode_id} is received")
        if self.told is not None and alert.opened_at in self.sent and alert.opened_at in self.stored:
            yield Hop("told", self.told[0], self.told[1])

    def latencies_s(self) -> dict[HopName, float]:
        """Of each hop, since the reading that opened the episode was on the topic. Empty before the journey's end."""
        if self.detected is None or self.told is None:
            return {}
        opened_at = self.detected[1].opened_at
        began_s = self.sent[opened_at].at_s
        seen = {hop.name: hop.at_s for hop in self.hops()} | {"sent": began_s, "stored": self.stored[opened_at][0]}
        return {name: max(0.0, seen[name] - began_s) for name in BOUNDS if name in seen}

    def disagreements(self) -> list[str]:
        """Where the reading, its row, the episode, the outbox row and the event tell different things."""
        if self.detected is None or self.committed is None or self.event is None:
            return ["the journey is not finished"]
        alert, outbox, relayed = self.detected[1], self.committed[1], self.event
        reading, row = self.sent[alert.opened_at].reading, self.stored[alert.opened_at][1]
        found = [] if _same_values(reading, row) else ["sensor_log holds other values than the reading"]
        if relayed.value != outbox.payload.encode() or relayed.key != outbox.key.encode():
            found.append(f"the record on {ALERT_TOPIC} is not the outbox row")
        try:
            event = decode_event(outbox.payload.encode())
        except BadRecord as error:
            return [*found, f"the outbox row is no alert event: {error}"]
        return [*found, *_differences(event, alert, reading)]


def _same_values(reading: Reading, row: StoredReading) -> bool:
    stored = (
        row.machine_id,
        row.timestamp,
        row.air_temp_k,
        row.process_temp_k,
        row.rpm,
        row.torque_nm,
        row.tool_wear_min,
    )
    return stored == (reading.machine_id, reading.timestamp, *reading.sensor_values())


def _differences(event: AlertEvent, alert: Alert, reading: Reading) -> Iterator[str]:
    pairs = {
        "machine_id": (event.machine_id, alert.machine_id, reading.machine_id),
        "episode_id": (event.episode_id, str(alert.episode_id)),
        "timestamp": (event.timestamp, alert.opened_at, reading.timestamp),
        "event": (event.event, "opened"),
    }
    for name, values in pairs.items():
        if len(set(values)) > 1:
            yield f"{name} differs: {' · '.join(map(str, values))}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"
