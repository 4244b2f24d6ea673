"""`/api/machines…`: who they are, how they stand, what they measured. Reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime

from pdm.events import MACHINE_ID_PATTERN
from pdm.portal import examples
from pdm.portal.fleet import Fleet
from pdm.portal.paging import MAX_PAGE, MachineCursor, TimeCursor, decode_cursor, encode_cursor
from pdm.portal.status import MachineStatus
from pdm.problems import Problem, problem_responses
from pdm.store.fleet import find_machines
from pdm.store.history import StoredReading, readings_page
from pdm.store.pool import Pool, transaction

# pydantic's patterns know ^ and $, which there mean the ends of the text and never a line's
ID_PATTERN = MACHINE_ID_PATTERN.replace(r"\A", "^").replace(r"\Z", "$")
MachineIdPath = Annotated[str, Path(pattern=ID_PATTERN, examples=["machine-001"])]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str | None, Query(description="`next` of the page before", max_length=500)]


@dataclass(frozen=True, slots=True)
class MachinePage:
    machines: list[MachineStatus]
    next: str | None


@dataclass(frozen=True, slots=True)
class ReadingPage:
    """Newest first. `next` leads to older readings."""

    machine_id: str
    readings: list[StoredReading]
    next: str | None


def machine_routes(fleet: Fleet, main: Pool) -> APIRouter:
    router = APIRouter(
        prefix="/api/machines",
        tags=["machines"],
        responses=problem_responses(_422="A parameter is wrong.", _503="A database is away."),
    )

    @router.get("", responses=examples.ok(examples.MACHINES))
    async def list_machines(cursor: Cursor = None, limit: Limit = 200) -> MachinePage:
        """Every machine ever seen, in id order, each with its newest values and its open episode."""
        after = decode_cursor(cursor, MachineCursor).machine_id if cursor else ""
        machines = await fleet.page(after, limit)
        is_full = len(machines) == limit
        return MachinePage(machines, encode_cursor(MachineCursor(machines[-1].machine_id)) if is_full else None)

    @router.get(
        "/{machine_id}/status",
        responses={**examples.ok(examples.STATUS), **problem_responses(_404="No such machine.")},
    )
    async def machine_status(machine_id: MachineIdPath) -> MachineStatus:
        """How the machine stands now: the real-time features, their age, and the open episode if there is one."""
        status = await fleet.one(machine_id)
        if status is None:
            raise unknown_machine(machine_id)
        return status

    @router.get(
        "/{machine_id}/logs", responses={**examples.ok(examples.LOGS), **problem_responses(_404="No such machine.")}
    )
    def machine_logs(
        machine_id: MachineIdPath,
        since: Annotated[AwareDatetime | None, Query(alias="from", description="not before")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to", description="before")] = None,
        cursor: Cursor = None,
        limit: Limit = 100,
    ) -> ReadingPage:
        """The stored readings, newest first."""
        if cursor:
            until = _earlier(until, decode_cursor(cursor, TimeCursor).timestamp)
        with transaction(main) as conn:
            readings = readings_page(conn, machine_id, since, until, limit)
        if not readings and not cursor and not _is_known(fleet.ai, machine_id):
            raise unknown_machine(machine_id)
        is_full = len(readings) == limit
        return ReadingPage(machine_id, readings, encode_cursor(TimeCursor(readings[-1].timestamp)) if is_full else None)

    return router


def unknown_machine(machine_id: str) -> Problem:
    return Problem(404, f"No machine {machine_id} was ever seen.", hint="GET /api/machines lists them.")


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return min(one, other) if one else other


def _is_known(ai: Pool, machine_id: str) -> bool:
    with transaction(ai) as conn:
        return bool(find_machines(conn, [machine_id]))
