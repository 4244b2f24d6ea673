"""The local stack as a person sees it start and stop: a line a part, then set-up, then the roles."""

import asyncio
import os
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pdm.cli.output import console, say
from pdm.cli.roles import wait_for_roles
from pdm.cli.setup import StepPrinter
from pdm.config import RoleName, Settings, is_locked, load_settings, lock_file, running_file
from pdm.errors import Misconfigured, PdmError, Retryable

if TYPE_CHECKING:
    from pdm.local.progress import Progress
    from pdm.local.stack import LocalStack

SETUP_TIMEOUT_S = 120.0
READY_TIMEOUT_S = 60.0
FOUND_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.1
MARKS = {"ready": "[green]✓[/]", "crashed": "[yellow]![/]", "gave_up": "[red]✗[/]", "preparing": "…", "stopped": "·"}

T = TypeVar("T")


class Stopped(PdmError):
    """A person asked for the end: not a fault, and nothing more needs to be said."""


def settings_of(data_dir: Path | None) -> Settings:
    """The settings for that folder; a stack that runs on it is found by every later command too."""
    if data_dir is not None:
        os.environ["PDM_DATA_DIR"] = str(data_dir.absolute())
    return load_settings()


@contextmanager
def running_stack(settings: Settings, stop: threading.Event, *, reset: bool = False) -> Iterator["LocalStack"]:
    """Engines up, set-up done and roles ready inside the block; nothing left outside, however it is left.

    Raises what LocalStack and the set-up raise, Stopped when `stop` is set first, Misconfigured when the extra
    `local` is not installed.
    """
    try:
        from pdm.local.stack import Interrupted, LocalStack
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"the local engines are not installed: {error.name} is missing",
            hint="pip install 'smart-factory-pdm[local]'",
        ) from error
    from pdm.setup import run_setup

    try:
        with LocalStack(settings, on_progress=show, stop=stop, reset=reset) as stack:
            run_until(stop, run_setup(stack.settings, StepPrinter(), SETUP_TIMEOUT_S))
            stack.start_roles()
            run_until(stop, wait_for_roles(stack.settings, show_role, READY_TIMEOUT_S))
            yield stack
    except Interrupted as error:
        raise Stopped(str(error)) from error


def run_until(stop: threading.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Raises Stopped, having cancelled it, when `stop` is set first."""

    async def watch() -> T:
        task = asyncio.create_task(work)
        while not (await asyncio.wait({task}, timeout=LOOK_EVERY_S))[0]:
            if stop.is_set():
                task.cancel()
                await asyncio.wait({task})
                break
        if task.cancelled():
            raise Stopped("stopped")
        return task.result()

    return asyncio.run(watch())


def show(progress: "Progress") -> None:
    """What a person waits for. First signs of life are left out, and so is a stop that was asked for."""
    if progress.state not in MARKS or (progress.state in ("preparing", "stopped") and not progress.detail):
        return
    detail = "" if progress.state == "ready" else f"{progress.state.replace('_', ' ')}: {progress.detail}"
    _line(progress.seconds, MARKS[progress.state], progress.name, detail)


def show_role(role: RoleName, seconds: float) -> None:
    _line(seconds, MARKS["ready"], role, "")


async def found_stack(settings: Settings) -> Settings | None:
    """The settings of the stack that another `pdm up` runs on this data folder, once its engines are up."""
    deadline = time.monotonic() + FOUND_TIMEOUT_S
    while is_locked(lock_file(settings.data_dir)):
        if running_file(settings.data_dir).exists():
            return load_settings()
        if time.monotonic() > deadline:
            raise Retryable(f"the engines of the stack on {settings.data_dir} do not come up", hint="See its terminal.")
        await asyncio.sleep(LOOK_EVERY_S)
    return None


def _line(seconds: float, mark: str, name: str, detail: str) -> None:
    console.print(f"{seconds:6.1f} s  {mark} {name:<14}", end=" " if detail else "\n")
    if detail:
        say(detail)
