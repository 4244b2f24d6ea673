"""`pdm status`: everything at one look, once, live or as JSON."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from pdm.cli.output import console, say
from pdm.config import load_settings
from pdm.log import escape_controls

if TYPE_CHECKING:
    from pdm.overview import Overview, Part

REFRESH_S = 2.0
COLOURS = {"critical": "bold red", "warning": "yellow", "silent": "magenta", "normal": "green"}


def status(
    is_json: Annotated[bool, typer.Option("--json", help="One look as JSON.")] = False,
    is_watching: Annotated[bool, typer.Option("--watch", "-w", help="Look again every 2 s until Ctrl-C.")] = False,
) -> None:
    """Show engines, roles, machines and active alerts. Exit code 1 when an engine or role is not well."""
    from pdm.overview import look_around

    settings = load_settings()
    if is_watching:
        asyncio.run(_watch())
        return
    overview = asyncio.run(look_around(settings))
    if is_json:
        say(json.dumps({"ok": overview.is_ok, **asdict(overview)}, ensure_ascii=False))
    else:
        console.print(render(overview))
    if not overview.is_ok:
        raise typer.Exit(1)


async def _watch() -> None:
    from pdm.overview import look_around

    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        while True:  # the settings anew each time: a `pdm up` may start or stop meanwhile
            live.update(render(await look_around(load_settings())), refresh=True)
            await asyncio.sleep(REFRESH_S)


def render(overview: "Overview") -> Group:
    return Group(
        _parts("Engines", overview.engines, {}),
        _parts("Roles", overview.roles, {role: _lag(lag) for role, lag in overview.lag.items()}),
        _machines(overview.machines),
        _alerts(overview.alerts),
    )


def _parts(title: str, parts: "list[Part]", more: dict[Any, str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for part in parts:
        mark = "[green]✓[/]" if part.is_ok else "[red]✗[/]"
        table.add_row(mark, part.name, _text(part.detail) + more.get(part.name, ""))
    return table


def _lag(records: int | None) -> str:
    return "" if records is None else f", lag {records}"


def _machines(machines: list[dict[str, Any]]) -> Table:
    table = Table("machine", "state", "data age", "torque", "wear", title="Machines", title_justify="left", box=None)
    for machine in machines:
        features = machine["features"]
        table.add_row(
            machine["machine_id"],
            f"[{COLOURS[machine['state']]}]{machine['state']}[/]",
            _number(machine["age_s"], "s", 1),
            _number(features["last_torque"], "Nm", 1),
            _number(features["last_tool_wear"], "min", 0),
        )
    if not machines:
        table.add_row("none seen")
    return table


def _alerts(alerts: list[dict[str, Any]]) -> Table:
    table = Table("since (UTC)", "machine", "alert", "why", title="Active alerts", title_justify="left", box=None)
    for alert in alerts:
        colour = COLOURS[alert["severity"]]
        table.add_row(
            alert["opened_at"][11:19],
            alert["machine_id"],
            f"[{colour}]{alert['failure_type']} {alert['severity']}[/]",
            _text("; ".join(alert["reasons"])),
        )
    if not alerts:
        table.add_row("none")
    return table


def _text(said: str) -> str:
    """Of an engine or of a reading: neither markup nor a terminal's controls."""
    return escape(escape_controls(said))


def _number(value: float | None, unit: str, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f} {unit}"
