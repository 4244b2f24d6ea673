"""All machines of this process: one asyncio task each, the caps, switching and stopping. Knows no HTTP route."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from pdm import metrics
from pdm.config import SimulatorSettings
from pdm.events import MACHINE_ID_PATTERN, VERIFY_PREFIX
from pdm.http import Health
from pdm.problems import Problem
from pdm.simulator.handler import FINISH_S, Run, Time
from pdm.simulator.machine import Machine, Operation
from pdm.simulator.orders import Order, Orders
from pdm.simulator.outlet import Outlet

DEFAULT_RATE_HZ = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Command:
    """Run this machine like this. None leaves a running machine as it is, and a new one gets the default."""

    machine_id: str
    operation: Operation
    duration_s: float | None = None
    rate_hz: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    max_machines: int
    max_rate_hz: float
    min_rate_hz: float

    @classmethod
    def of(cls, settings: SimulatorSettings, max_interval_s: float) -> "Caps":
        return cls(settings.max_machines, settings.max_rate_hz, 1.0 / max_interval_s)


class Fleet:
    """Commands are checked together and obeyed together: a refused one changes nothing."""

    def __init__(
        self,
        outlet: Outlet,
        caps: Caps,
        clock: Time | None = None,
        draw_seed: Callable[[], int] = lambda: secrets.randbits(32),
    ) -> None:
        self._outlet = outlet
        self._caps = caps
        self._clock = clock or Time()
        self._draw_seed = draw_seed
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._fault: asyncio.Future[None] | None = None
        self._is_closed = False

    def obey(self, commands: Sequence[Command]) -> list[Run]:
        """Start or switch each machine; raises Problem when one of the commands cannot be obeyed."""
        if self._is_closed:
            raise Problem(503, "the simulator is stopping", hint="Ask again when it is back.")
        for command in commands:
            self._check(command)
        self._check_ids([command.machine_id for command in commands])
        runs = [self._obey(command) for command in commands]
        profiles = sorted({command.operation.profile.name for command in commands})
        log.info("simulator.ordered", machines=len(runs), first=commands[0].machine_id, profiles=profiles)
        return runs

    def find(self, machine_id: str) -> Run:
        try:
            return self._runs[machine_id]
        except KeyError:
            raise Problem(404, f"{machine_id} is not being simulated") from None

    def runs(self) -> list[Run]:
        """In the order of their machine ids."""
        return [self._runs[machine_id] for machine_id in sorted(self._runs)]

    async def stop(self, runs: Sequence[Run]) -> None:
        """End them within twice FINISH_S, letting what is on its way to Kafka arrive."""
        await asyncio.gather(*map(self._stop, runs))
        log.info("simulator.stopped", machines=len(runs), sent=sum(run.sent for run in runs))

    async def close(self) -> None:
        """Refuse commands and stop every machine."""
        self._is_closed = True
        await self.stop(self.runs())

    async def watch(self) -> None:
        """Never return; raise what a machine's task died of, because the role must not live on without it."""
        self._fault = asyncio.get_running_loop().create_future()
        await self._fault

    async def check_sending(self) -> Health:
        """Ready: no machine has been waiting for Kafka."""
        waiting = sum(run.state == "waiting for Kafka" for run in self._runs.values())
        return Health(not waiting, f"{len(self._runs)} machines, {waiting} waiting for Kafka")

    def _check(self, command: Command) -> None:
        machine_id, rate_hz = command.machine_id, command.rate_hz
        if re.fullmatch(MACHINE_ID_PATTERN, machine_id) is None:
            raise Problem(
                422,
                f"{machine_id!r} is no machine id",
                hint="1 to 63 letters, digits, dots, underscores and hyphens, beginning with a letter or digit.",
            )
        if machine_id.startswith(VERIFY_PREFIX):
            raise Problem(403, f"ids beginning {VERIFY_PREFIX} belong to `pdm verify`", hint="Choose another id.")
        if rate_hz is not None and not self._caps.min_rate_hz <= rate_hz <= self._caps.max_rate_hz:
            raise Problem(
                422,
                f"rate_hz {rate_hz:g} is outside {self._caps.min_rate_hz:g} to {self._caps.max_rate_hz:g}",
                hint="A slower machine would be judged on too few readings: PDM_INFERENCE__MAX_INTERVAL_S sets the "
                "lowest rate, PDM_SIMULATOR__MAX_RATE_HZ the highest.",
            )
        if command.seed is not None and machine_id in self._runs:
            raise Problem(409, f"{machine_id} is running, its seed is fixed", hint=f"DELETE /simulate/{machine_id}")

    def _check_ids(self, machine_ids: Sequence[str]) -> None:
        if len(set(machine_ids)) < len(machine_ids):
            raise Problem(422, "a machine is named twice", hint="One command a machine.")
        number = len(self._runs.keys() | set(machine_ids))
        if number > self._caps.max_machines:
            raise Problem(
                422,
                f"{number} machines would run, the limit is {self._caps.max_machines}",
                hint="Stop some of them, or raise PDM_SIMULATOR__MAX_MACHINES.",
            )

    def _obey(self, command: Command) -> Run:
        run = self._runs.get(command.machine_id)
        if run is None:
            run = self._start(command)
        else:
            run.orders.give(Order(command.operation, command.duration_s))
            run.rate_hz = command.rate_hz or run.rate_hz
        return run

    def _start(self, command: Command) -> Run:
        seed = self._draw_seed() if command.seed is None else command.seed
        machine_id = command.machine_id
        run = Run(
            machine=Machine(machine_id, seed, command.operation),
            orders=Orders(Order(command.operation, command.duration_s)),
            rate_hz=command.rate_hz or max(DEFAULT_RATE_HZ, self._caps.min_rate_hz),
            outlet=self._outlet,
            time=self._clock,
            started_s=self._clock.now(),
        )
        self._runs[machine_id] = run
        task = self._tasks[machine_id] = asyncio.create_task(run.live(), name=machine_id)
        task.add_done_callback(lambda done: self._forget(machine_id, done))
        metrics.SIMULATED_MACHINES.set(len(self._runs))
        return run

    def _forget(self, machine_id: str, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(machine_id)
        del self._tasks[machine_id]
        metrics.SIMULATED_MACHINES.set(len(self._runs))
        log.debug("simulator.machine_ended", machine_id=machine_id, sent=run.sent, skipped=run.skipped)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("simulator.machine_failed", machine_id=machine_id, exc_info=error)
            if self._fault is not None and not self._fault.done():
                self._fault.set_exception(error)

    async def _stop(self, run: Run) -> None:
        task = self._tasks.get(run.machine.machine_id)
        run.is_stopped = True
        if task is None:
            return
        if not run.is_sending:
            task.cancel()
        await asyncio.wait({task}, timeout=FINISH_S)
        task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.end_truth(), FINISH_S)
