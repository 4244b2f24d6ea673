"""`pdm simulate`: asks the simulator role for a machine, shows it, and ends it with Ctrl-C."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer
from rich.live import Live

from pdm.cli.output import console, say
from pdm.config import load_settings
from pdm.errors import PdmError

if TYPE_CHECKING:
    from pdm.role_client import RoleClient

LOOK_EVERY_S = 0.5


def simulate(
    machine_id: Annotated[str, typer.Argument(help="For example machine-001.")],
    profile: Annotated[
        str, typer.Option(help="normal, ai4i, overstrain, heat_dissipation, power or tool_wear.")
    ] = "normal",
    duration: Annotated[
        int | None, typer.Option(min=1, help="Seconds; then back to the profile before, else it stops.")
    ] = None,
    rate_hz: Annotated[float | None, typer.Option(help="Readings a second; 1 unless told.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed and id, same readings.")] = None,
    ramp: Annotated[float | None, typer.Option(help="Seconds over which a fault creeps in.")] = None,
) -> None:
    """Simulate one machine and watch it. Ctrl-C ends the simulation; a running machine switches its profile."""
    wanted = {"profile": profile, "duration_sec": duration, "rate_hz": rate_hz, "seed": seed, "ramp_s": ramp}
    asyncio.run(_simulate(machine_id, wanted))


async def _simulate(machine_id: str, wanted: dict[str, Any]) -> None:
    from pdm.role_client import RoleClient

    path = f"/simulate/{quote(machine_id, safe='')}"
    async with RoleClient(load_settings(), "simulator") as simulator:
        run = await simulator.ask("POST", path, **wanted)
        say(f"{machine_id} runs on {run['profile']}, {run['rate_hz']:g} Hz. Ctrl-C ends it.")
        try:
            await _watch(simulator, run)
        except asyncio.CancelledError:
            with suppress(PdmError):  # it may have ended in the same moment
                run = await simulator.ask("DELETE", path)
                say(f"{machine_id} stopped, readings sent: {run['sent']}.")
            raise


async def _watch(simulator: "RoleClient", run: dict[str, Any]) -> None:
    """Until the ordered profile is over: the machine stopped, or went back to the profile before."""
    profile, began = run["profile"], time.monotonic()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while run["profile"] == profile and run["state"] != "stopped":
            live.update(_line(run, time.monotonic() - began), refresh=True)
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                run = await simulator.ask("GET", f"/simulate/{run['machine_id']}")
            except PdmError:
                break
    say(f"{run['machine_id']} {'stopped' if run['profile'] == profile else 'is back on ' + run['profile']}.")


def _line(run: dict[str, Any], seconds: float) -> str:
    skipped = f", {run['skipped']} skipped" if run["skipped"] else ""
    return f"{seconds:5.0f} s  {run['profile']}, {run['state']}, readings sent: {run['sent']}{skipped}"
