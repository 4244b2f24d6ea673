"""`pdm doctor`: shows what was found, worst told with what to do."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdm.cli.age import age, ago
from pdm.cli.deep import look_deep
from pdm.cli.output import console, say
from pdm.config import load_settings

if TYPE_CHECKING:
    from pdm.doctor import Finding

MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "wrong": "[red]✗[/]"}
PART_WIDTH = 26


def doctor(
    is_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
    probe_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a fresh row may take from the outbox to Kafka.")
    ] = 10.0,
    is_deep: Annotated[
        bool, typer.Option("--deep", help="Also compare log, tables, alerts and features: is anything lost or doubled?")
    ] = False,
    since: Annotated[
        timedelta | None,
        typer.Option(parser=age, metavar="AGE", help="With --deep: only what was appended within 90s, 30m, 24h, 7d, …"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="With --deep: only machines whose id begins so.")] = "",
) -> None:
    """Check every part that an alert depends on, and say what to do. Exit code 1 when something is wrong."""
    from pdm.doctor import examine

    if (since is not None or prefix) and not is_deep:
        raise typer.BadParameter("--since and --prefix need --deep")
    start = ago(since)
    settings = load_settings()
    findings = asyncio.run(examine(settings, probe_timeout))
    if not is_json:
        for finding in findings:
            _show(finding)
    counts: dict[str, int] = {}
    if is_deep:
        deep, counts = look_deep(settings, start, prefix, is_progress_shown=not is_json)
        if not is_json:
            for finding in deep:
                _show(finding)
        findings += deep
    _end(findings, counts, is_json=is_json)


def _end(findings: list["Finding"], counts: dict[str, int], *, is_json: bool) -> None:
    wrong = sum(finding.state == "wrong" for finding in findings)
    if is_json:
        told: dict[str, Any] = {"ok": not wrong, "findings": [asdict(finding) for finding in findings]}
        say(json.dumps({**told, "counts": counts} if counts else told, ensure_ascii=False))
    else:
        say(f"{wrong} of {len(findings)} wrong." if wrong else f"All {len(findings)} fine.")
    if wrong:
        raise typer.Exit(1)


def _show(finding: "Finding") -> None:
    """Never wrapped: advice holds commands to copy."""
    console.print(f"{MARKS[finding.state]} {finding.part:<{PART_WIDTH}}", end=" ")
    say(finding.detail)
    if finding.advice:
        say(f"  {'':<{PART_WIDTH}} → {finding.advice}")
