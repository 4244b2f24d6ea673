"""The simulator's HTTP routes: what a caller may ask, and the shape of the answers. Decides nothing."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import Body, FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdm.events import MACHINE_ID_PATTERN, ProductType
from pdm.problems import Problem, problem_responses
from pdm.simulator.fleet import Command, Fleet
from pdm.simulator.handler import Run, RunState
from pdm.simulator.machine import Operation
from pdm.simulator.profiles import PROFILES, ProfileName

DAY_S = 86_400
MAX_GROUP = 100_000  # only a bound on the text; how many may run is the fleet's to say
_REFUSALS = problem_responses(
    _403="This id belongs to `pdm verify`.",
    _409="The machine is running and its seed is fixed.",
    _422="Outside the caps; the detail names the limit.",
)
_UNKNOWN = problem_responses(_404="This machine is not being simulated.")

MachineIdInPath = Annotated[str, Path(description=f"matches {MACHINE_ID_PATTERN}", examples=["machine-001"])]


class Ask(BaseModel):
    """How to run a machine. A running one switches at its next reading and keeps its tool and temperatures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: ProfileName = "normal"
    duration_sec: int | None = Field(
        None,
        ge=1,
        le=30 * DAY_S,
        description="then back to the profile before, else stop; absent: until told otherwise",
    )
    rate_hz: float | None = Field(None, gt=0, description="readings a second; absent: 1, or as it runs")
    seed: int | None = Field(None, ge=0, lt=2**63, description="same seed and id, same readings; absent: drawn")
    ramp_s: float = Field(0, ge=0, le=DAY_S, description="creep in linearly from the present operating point")
    product_type: ProductType | None = Field(
        None, description="quality class of every product; absent: drawn each time"
    )

    def command(self, machine_id: str) -> Command:
        operation = Operation(PROFILES[self.profile], self.product_type, self.ramp_s)
        return Command(machine_id, operation, self.duration_sec, self.rate_hz, self.seed)


class GroupAsk(Ask):
    """One machine by `machine_id`, or `count` machines `<prefix>001`, `<prefix>002`, …"""

    machine_id: str | None = None
    prefix: str | None = None
    count: int = Field(1, ge=1, le=MAX_GROUP)
    first: int = Field(1, ge=0, le=MAX_GROUP)

    @model_validator(mode="after")
    def _is_one_or_many(self) -> "GroupAsk":
        if (self.machine_id is None) == (self.prefix is None):
            raise ValueError("give either machine_id, or prefix and count")
        return self

    def commands(self) -> Iterator[Command]:
        if self.machine_id is not None:
            yield self.command(self.machine_id)
            return
        for number in range(self.first, self.first + self.count):
            yield self.command(f"{self.prefix}{number:03d}")


class Simulation(BaseModel):
    """A machine being simulated. `sent` counts what Kafka acknowledged, `skipped` the instants without a reading."""

    machine_id: str
    state: RunState
    profile: ProfileName
    ends_at: datetime | None = Field(description="when this profile ends; null: not by itself, or not begun yet")
    then: ProfileName | None = Field(description="the profile it returns to; null: none, it stops")
    rate_hz: float
    seed: int
    ramp_s: float
    product_type: ProductType | None
    started_at: datetime
    last_sent_at: datetime | None
    sent: int
    skipped: int
    injection_id: str | None = Field(description="of the fault that is on, as on the topic sensor-ground-truth")

    @classmethod
    def of(cls, run: Run) -> "Simulation":
        order, base = run.orders.newest, run.orders.base
        operation = order.operation
        return cls(
            machine_id=run.machine.machine_id,
            state=run.state,
            profile=operation.profile.name,
            ends_at=None if order.ends_s is None else run.at(order.ends_s),
            then=None if order is base else base.operation.profile.name,
            rate_hz=run.rate_hz,
            seed=run.machine.seed,
            ramp_s=operation.ramp_s,
            product_type=operation.product_type,
            started_at=run.at(0),
            last_sent_at=run.last_sent_at,
            sent=run.sent,
            skipped=run.skipped,
            injection_id=run.injection.injection_id if run.injection else None,
        )


class Simulations(BaseModel):
    items: list[Simulation]
    next: str | None = Field(None, description="give it as `cursor` to read on; null: this is the end")


def add_routes(app: FastAPI, fleet: Fleet) -> None:
    @app.post("/simulate/{machine_id}", status_code=202, tags=["simulator"], responses=_REFUSALS)
    async def simulate(machine_id: MachineIdInPath, ask: Annotated[Ask, Query()]) -> Simulation:
        """Start a machine, or switch a running one at its next reading."""
        (run,) = fleet.obey([ask.command(machine_id)])
        return Simulation.of(run)

    @app.get("/simulate/{machine_id}", tags=["simulator"], responses=_UNKNOWN)
    async def show(machine_id: MachineIdInPath) -> Simulation:
        return Simulation.of(fleet.find(machine_id))

    @app.delete("/simulate/{machine_id}", tags=["simulator"], responses=_UNKNOWN)
    async def stop(machine_id: MachineIdInPath) -> Simulation:
        """Stop a machine; the answer is its last state."""
        run = fleet.find(machine_id)
        await fleet.stop([run])
        return Simulation.of(run)

    @app.get("/simulations", tags=["simulator"])
    async def list_all(limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: str | None = None) -> Simulations:
        """Every machine being simulated, in the order of their ids."""
        runs = [run for run in fleet.runs() if cursor is None or run.machine.machine_id > cursor]
        page = runs[:limit]
        more = page[-1].machine.machine_id if len(runs) > limit else None
        return Simulations(items=[Simulation.of(run) for run in page], next=more)

    @app.post("/simulations", status_code=202, tags=["simulator"], responses=_REFUSALS)
    async def simulate_many(asks: Annotated[list[GroupAsk], Body(min_length=1)]) -> Simulations:
        """Start or switch many machines: all of them, or none when one is refused."""
        if sum(ask.count for ask in asks) > MAX_GROUP:
            raise Problem(422, f"more than {MAX_GROUP:,} machines in one call")
        runs = fleet.obey([command for ask in asks for command in ask.commands()])
        return Simulations(items=[Simulation.of(run) for run in runs])

    @app.delete("/simulations", tags=["simulator"])
    async def stop_many(prefix: str = "") -> Simulations:
        """Stop every machine whose id begins with `prefix`; without one, all. The answer is their last states."""
        runs = [run for run in fleet.runs() if run.machine.machine_id.startswith(prefix)]
        await fleet.stop(runs)
        return Simulations(items=[Simulation.of(run) for run in runs])
