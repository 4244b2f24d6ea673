"""Live values: once a second, while a page is open, which machines changed. Sends through the feed, stores nothing."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from pdm.portal.feed import Feed, encode_event
from pdm.portal.fleet import Fleet
from pdm.portal.status import MachineStatus

EVERY_S = 1.0


@dataclass(slots=True)
class LiveValues:
    fleet: Fleet
    feed: Feed
    now: Callable[[], datetime]
    _shown: dict[str, object] = field(default_factory=dict)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """An episode changed: look now rather than within the second."""
        self._awake.set()

    async def turn(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._awake.wait(), EVERY_S)
        self._awake.clear()
        if not self.feed.clients:
            return
        machines = await self.fleet.everything()
        changed = [machine for machine in machines if self._shown.get(machine.machine_id) != _essence(machine)]
        self._shown = {machine.machine_id: _essence(machine) for machine in machines}
        is_new = any(client.needs_all_values for client in self.feed.clients)
        self.feed.send_values(self._encode(changed) if changed else None, self._encode(machines) if is_new else b"")

    def _encode(self, machines: list[MachineStatus]) -> bytes:
        return encode_event("machines", msgspec.json.encode({"now": self.now(), "machines": machines}).decode())


def _essence(machine: MachineStatus) -> object:
    """Everything but the age, which a page counts by itself."""
    return (machine.last_seen, machine.state, machine.stale, machine.degraded, machine.episode)
