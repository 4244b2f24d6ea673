"""`pdm setup`: shows each step of the set-up as it ends."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pdm.cli.output import console
from pdm.config import load_settings

if TYPE_CHECKING:
    from pdm.setup import Step

WAITING_SHOWN_AFTER_S = 3.0


def setup(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for engines that are starting.")] = 120.0,
) -> None:
    """Bring databases, topics and relay to this version. Safe to repeat, also from many places at once."""
    from pdm.setup import run_setup

    asyncio.run(run_setup(load_settings(), StepPrinter(), timeout))


class StepPrinter:
    """Prints each step with its seconds; a step that waits says why, once a reason."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def __call__(self, step: "Step") -> None:
        if step.state == "waiting":
            if step.seconds < WAITING_SHOWN_AFTER_S or self._shown.get(step.name) == step.detail:
                return
            self._shown[step.name] = step.detail
        mark = {"done": "[green]✓[/]", "warning": "[yellow]![/]", "waiting": "[dim]…[/]"}[step.state]
        console.print(f"{step.seconds:6.1f} s  {mark} {step.name:<14}", end=" ")
        console.print(step.detail, markup=False, soft_wrap=True)
