"""`pdm up`: the whole system on this machine, until Ctrl-C."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdm.cli.output import say
from pdm.cli.stack import Stopped, running_stack, settings_of
from pdm.config import ROLES, Settings, without_credentials

if TYPE_CHECKING:
    from pdm.local.stack import LocalStack

PATIENCE_S = 5.0  # the portal's guard comes first: what it does is counted in its metrics


def up(
    reset: Annotated[bool, typer.Option("--reset", help="Start afresh: delete every reading and alert first.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where the engines keep their data (PDM_DATA_DIR).")] = None,
) -> None:
    """Start engines and roles on this machine, and stay until Ctrl-C. Needs no Docker and no root."""
    from pdm.local.signals import stop_on_signals

    began = time.monotonic()
    settings = settings_of(data_dir)
    with stop_on_signals() as stop:
        try:
            with running_stack(settings, stop, reset=reset) as stack:
                _greet(stack.settings, time.monotonic() - began)
                asyncio.run(_stay(stack))
                say("stopping …")
        except Stopped:
            say("stopped while starting")
        else:
            say("stopped")


async def _stay(stack: "LocalStack") -> None:
    """Until the end is wanted, with an eye on the relay: the portal's own guard may be down with it."""
    from pdm.relay_guard import RelayGuard

    guard = RelayGuard(stack.settings, lambda news: say(str(news)), patience_s=PATIENCE_S)
    guarding = asyncio.create_task(guard.run())
    try:
        await asyncio.to_thread(stack.wait)
    finally:
        guarding.cancel()
        await asyncio.gather(guarding, return_exceptions=True)


def _greet(settings: Settings, seconds: float) -> None:
    say("")
    say(f"pdm is up after {seconds:.1f} s. Ctrl-C stops it; the data stays in {settings.data_dir}")
    for role in reversed(ROLES):
        say(f"  {role:<10} {without_credentials(settings.role_url(role))}")
    say("In another terminal: pdm simulate machine-001 --profile overstrain")
