"""`pdm doctor`: shows what was found, worst told with what to do."""

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

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
) -> None:
    """Check every part that an alert depends on, and say what to do. Exit code 1 when something is wrong."""
    from pdm.doctor import examine

    findings = asyncio.run(examine(load_settings(), probe_timeout))
    wrong = sum(finding.state == "wrong" for finding in findings)
    if is_json:
        say(json.dumps({"ok": not wrong, "findings": [asdict(finding) for finding in findings]}, ensure_ascii=False))
    else:
        for finding in findings:
            _show(finding)
        say(f"{wrong} of {len(findings)} wrong." if wrong else f"All {len(findings)} fine.")
    if wrong:
        raise typer.Exit(1)


def _show(finding: "Finding") -> None:
    """Never wrapped: advice holds commands to copy."""
    console.print(f"{MARKS[finding.state]} {finding.part:<{PART_WIDTH}}", end=" ")
    say(finding.detail)
    if finding.advice:
        say(f"  {'':<{PART_WIDTH}} → {finding.advice}")
