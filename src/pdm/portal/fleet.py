"""Reads how machines stand: PostgreSQL for who they are, Redis for the newest values, else `sensor_log`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from pdm.errors import Retryable
from pdm.feature_store import FeatureStore
from pdm.portal.status import MachineStatus, machine_status
from pdm.store.fleet import KnownMachine, find_machines, known_machines
from pdm.store.history import StoredReading, newest_readings
from pdm.store.pool import Pool, transaction

PAGE = 1_000  # machines read at once: one command to Redis holds up everybody else's


@dataclass(frozen=True, slots=True)
class Fleet:
    """Every call raises Retryable when the database that it needs is away; an absent Redis only degrades."""

    ai: Pool
    main: Pool
    features: FeatureStore
    stale_s: float
    now: Callable[[], datetime]

    async def page(self, after: str, limit: int) -> list[MachineStatus]:
        """In id order, ids beyond `after`."""
        known = await run_in_threadpool(self._known, after, limit)
        return await self._statuses({machine.machine_id: machine for machine in known})

    async def everything(self) -> list[MachineStatus]:
        """All machines, in id order."""
        machines: list[MachineStatus] = []
        while page := await self.page(machines[-1].machine_id if machines else "", PAGE):
            machines += page
            if len(page) < PAGE:
                break
        return machines

    async def one(self, machine_id: str) -> MachineStatus | None:
        """None: nobody ever heard of it."""
        known = await run_in_threadpool(self._find, machine_id)
        (status,) = await self._statuses({machine_id: known})
        return None if known is None and status.last_seen is None else status

    async def _statuses(self, machines: Mapping[str, KnownMachine | None]) -> list[MachineStatus]:
        features = await self._features(list(machines))
        absent = [machine_id for machine_id in machines if "last_seen" not in features[machine_id]]
        newest = await run_in_threadpool(self._newest, absent) if absent else {}
        now = self.now()
        return [
            machine_status(
                machine_id, known, features[machine_id], newest.get(machine_id), now=now, stale_s=self.stale_s
            )
            for machine_id, known in machines.items()
        ]

    async def _features(self, machine_ids: list[str]) -> Mapping[str, Mapping[str, str]]:
        try:
            return await self.features.read_many(machine_ids)
        except Retryable:  # each status says `degraded`, and readiness why
            return {machine_id: {} for machine_id in machine_ids}

    def _known(self, after: str, limit: int) -> list[KnownMachine]:
        with transaction(self.ai) as conn:
            return known_machines(conn, after, limit)

    def _find(self, machine_id: str) -> KnownMachine | None:
        with transaction(self.ai) as conn:
            return next(iter(find_machines(conn, [machine_id])), None)

    def _newest(self, machine_ids: Sequence[str]) -> dict[str, StoredReading]:
        with transaction(self.main) as conn:
            return newest_readings(conn, machine_ids)
