"""An ai database of one's own for a test of the portal, and what inference and the relay would do to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from pdm.config import AiDatabase, Settings
from pdm.events import AlertEvent
from pdm.inference.episode import episode_id as id_by_opening
from pdm.portal.handler import TakenIn, take_in
from pdm.portal.notifier import Notifier
from pdm.store.episodes import EpisodeChange, add_machines, write_change
from pdm.store.inbox import Incoming
from pdm.store.pool import Pool, connect, open_pool, transaction

TABLES = ("inbox", "alert", "notification", "event_log")


def episode(
    *events: str,
    machine_id: str = "machine-001",
    episode_id: UUID | None = None,
    at: datetime | None = None,
    **more: Any,
) -> list[Incoming]:
    """The events of one episode in order, a second apart, as they come through the relay."""
    at = at or datetime.now(UTC)
    episode_id = episode_id or id_by_opening(machine_id, at, round(at.timestamp() * 1000))
    return [
        Incoming(
            uuid5(episode_id, str(seq)),
            _event(machine_id, episode_id, name, seq, at + timedelta(seconds=seq - 1), more),
        )
        for seq, name in enumerate(events, 1)
    ]


def _event(machine_id: str, episode_id: UUID, name: str, seq: int, at: datetime, more: dict[str, Any]) -> AlertEvent:
    given: dict[str, Any] = {
        "machine_id": machine_id,
        "failure_type": "Overstrain",
        "timestamp": at,
        "version": 1,
        "event": name,
        "episode_id": str(episode_id),
        "seq": seq,
        "severity": "warning" if name == "eased" else "critical",
        "appended_at": at,
        "score": 1.0,
        "failure_types": ["Overstrain"],
        "reasons": [f"reason {seq}"],
        "model_version": None,
        "detected_at": at,
        **more,
    }
    return AlertEvent(**given)


@dataclass
class Desk:
    """One portal's database. `sent` is what its only channel was told; `failures` are raised first, one a call."""

    settings: Settings
    pool: Pool
    sent: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    @property
    def database(self) -> AiDatabase:
        return self.settings.ai_db

    def take_in(self, incoming: Sequence[Incoming]) -> TakenIn:
        with transaction(self.pool) as conn:
            return take_in(conn, incoming, ["test"])

    def notifier(self) -> Notifier:
        return Notifier(self.pool, {"test": self._tell}, "ko", lambda: datetime.now(UTC))

    async def _tell(self, message: str, _: AlertEvent) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(message)

    def detect(self, incoming: Sequence[Incoming]) -> None:
        """What inference writes, from an episode's first event on."""
        with self._as("inference") as pool:
            for offset, item in enumerate(incoming):
                with transaction(pool) as conn:
                    add_machines(conn, {item.event.machine_id: "L"})
                    assert write_change(conn, _change(item, offset))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.database.conninfo("owner"), "test") as conn:
            return conn.execute(query.encode()).fetchall()

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the portal's tables."""
        return {table: self.rows(f"SELECT to_jsonb(t) FROM portal.{table} t ORDER BY 1") for table in TABLES}

    @contextmanager
    def _as(self, role: Any) -> Iterator[Pool]:
        pool = open_pool(self.database.conninfo(role), "pdm.test")
        try:
            yield pool
        finally:
            pool.close()


def _change(item: Incoming, offset: int) -> EpisodeChange:
    event = item.event
    is_over = event.event == "cleared"
    return EpisodeChange(
        event=event,
        event_id=item.event_id,
        offset=offset,
        reading={"torque_nm": 78.1},
        features={"torque_1m_avg_nm": 71.3},
        last_seen_at=event.timestamp,
        closed_at=event.timestamp if is_over else None,
        close_reason="cleared" if is_over else None,
    )
