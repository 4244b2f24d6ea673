"""Watching a fault's journey: Kafka from its end, the databases and the portal in quick looks. Changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from pdm.config import ALERT_TOPIC, RAW_TOPIC, Settings
from pdm.errors import BadRecord, PdmError
from pdm.events import decode_reading
from pdm.journey import BOUNDS, Hop, Journey, MissingHop, Relayed, Sent
from pdm.role_client import RoleClient
from pdm.store.alerts import AlertFilter, alerts_page
from pdm.store.history import readings_page
from pdm.store.pool import Connection, connect
from pdm.store.relay import outbox_rows
from pdm.topics import open_tail

LOOK_EVERY_S = 0.02
NEWEST = 50  # readings looked at; more than a machine sends between two looks


@dataclass(frozen=True, slots=True)
class Fault:
    """What to wait for: readings of the machine later than `since`, an episode that is none of `known`."""

    machine_id: str
    since: datetime
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Opened before the fault begins: what Kafka takes from then on is seen."""

    main: Connection
    ai: Connection
    tail: AIOKafkaConsumer
    portal: RoleClient

    async def episodes(self, machine_id: str) -> frozenset[str]:
        """The newest episodes that the database knows of the machine."""
        alerts = await asyncio.to_thread(alerts_page, self.ai, AlertFilter(machine_id), NEWEST)
        return frozenset(str(alert.episode_id) for alert in alerts)

    async def has_open_episode(self, machine_id: str) -> bool:
        return bool(await asyncio.to_thread(alerts_page, self.ai, AlertFilter(machine_id, active=True), 1))

    async def follow(self, fault: Fault, on_hop: Callable[[Hop], None]) -> Journey:
        """Tell each hop as it happens; return once the portal has told people. Raises MissingHop."""
        journey, names = Journey(), list(BOUNDS)
        reading_tail = asyncio.create_task(self._read_tail(journey, fault))
        told, last_s = 0, time.monotonic()
        try:
            while told < len(names):
                await asyncio.to_thread(self._look, journey, fault)
                await self._ask_portal(journey)
                for hop in list(journey.hops())[told:]:
                    on_hop(hop)
                    told, last_s = told + 1, time.monotonic()
                if reading_tail.done():
                    reading_tail.result()
                if told < len(names) and time.monotonic() - last_s > BOUNDS[names[told]][0]:
                    raise MissingHop(names[told])
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            reading_tail.cancel()
            await asyncio.gather(reading_tail, return_exceptions=True)
        return journey

    async def messages(self, journey: Journey) -> list[str]:
        """What the portal has told people of the journey's episode, oldest first; nothing while it is away."""
        if journey.detected is None:
            return []
        with suppress(PdmError):
            found = await self.portal.ask("GET", f"/api/alerts/{journey.detected[1].episode_id}")
            return [told["message"] for told in found["notifications"] if told["state"] == "sent"]
        return []

    async def _read_tail(self, journey: Journey, fault: Fault) -> None:
        async for record in self.tail:
            if record.topic == ALERT_TOPIC:
                _see_event(journey, record)
            elif record.key == fault.machine_id.encode():
                _see_reading(journey, record, fault.since)

    def _look(self, journey: Journey, fault: Fault) -> None:
        """Ask both databases for what is not known yet."""
        for row in readings_page(self.main, fault.machine_id, fault.since, None, NEWEST):
            journey.stored.setdefault(row.timestamp, (time.monotonic(), row))
        if journey.detected is None:
            for alert in alerts_page(self.ai, AlertFilter(fault.machine_id), 1):
                if str(alert.episode_id) not in fault.known:
                    journey.detected = time.monotonic(), alert
        if journey.detected is not None and journey.committed is None:
            for row_out in outbox_rows(self.ai, fault.machine_id, str(journey.detected[1].episode_id))[:1]:
                journey.committed = time.monotonic(), row_out

    async def _ask_portal(self, journey: Journey) -> None:
        if journey.detected is None:
            return
        with suppress(PdmError):  # away: the hop's bound decides
            found = await self.portal.ask("GET", f"/api/alerts/{journey.detected[1].episode_id}")
            now_s = time.monotonic()
            if found["alert"]["received"] and journey.received_at_s is None:
                journey.received_at_s = now_s
            for notification in found["notifications"]:
                if notification["state"] == "sent" and journey.told is None:
                    journey.told = now_s, notification["message"]


@asynccontextmanager
async def open_watcher(settings: Settings) -> AsyncIterator[Watcher]:
    """Connected to every engine with the portal's rights, which only read. Raises Retryable."""
    with ExitStack() as databases:
        main = databases.enter_context(connect(settings.main_db.conninfo("portal"), "pdm.watch"))
        ai = databases.enter_context(connect(settings.ai_db.conninfo("portal"), "pdm.watch"))
        async with open_tail(settings.kafka, RAW_TOPIC, ALERT_TOPIC) as tail, RoleClient(settings, "portal") as portal:
            yield Watcher(main, ai, tail, portal)


def _see_event(journey: Journey, record: ConsumerRecord) -> None:
    for name, value in record.headers:
        if name == "id" and value is not None:
            journey.relayed.setdefault(value.decode(), Relayed(time.monotonic(), record.key, record.value))


def _see_reading(journey: Journey, record: ConsumerRecord, since: datetime) -> None:
    with suppress(BadRecord):
        reading = decode_reading(record.key, record.value)
        if reading.timestamp > since:
            sent = Sent(time.monotonic(), reading, record.partition, record.offset)
            journey.sent.setdefault(reading.timestamp, sent)
