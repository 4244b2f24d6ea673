"""`pdm demo`: three machines, a fault on one, and every hop of its alert as it happens."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdm.cli.output import console, say
from pdm.cli.roles import wait_for_roles
from pdm.cli.stack import (
    READY_TIMEOUT_S,
    Stopped,
    found_stack,
    run_until,
    running_stack,
    settings_of,
    show_role,
)
from pdm.config import KafkaSettings, Settings, without_credentials
from pdm.errors import PdmError, Retryable

if TYPE_CHECKING:
    from pdm.journey import Hop, Journey
    from pdm.role_client import RoleClient
    from pdm.watch import Watcher

FAULTY = "machine-001"
MACHINES = (FAULTY, "machine-002", "machine-003")
RATE_HZ = 2.0  # twice the usual: nobody should wait long for ten readings
FAULT_S = 120  # long enough to look at; then the simulator itself ends it, whatever became of this process
CLEAR_TIMEOUT_S = 120.0  # an episode of before clears within the one-minute mean plus ten readings
LOOK_EVERY_S = 0.2
NEWS_EVERY_S = 1.0


def demo(
    is_exit: Annotated[
        bool, typer.Option("--exit", help="End after the alert, with code 0 only if every hop agrees.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where the engines keep their data (PDM_DATA_DIR).")] = None,
) -> None:
    """Put a fault on machine-001 and follow it to the alert. Uses a running `pdm up`, else starts everything."""
    from pdm.local.signals import stop_on_signals

    settings = settings_of(data_dir)
    with stop_on_signals() as stop, ExitStack() as started:
        try:
            settings = _find_or_start(settings, stop, started)
            run_until(stop, _demonstrate(settings, is_exit=is_exit))
        except Stopped:
            if is_exit:
                raise
            say("stopping …")


def _find_or_start(settings: Settings, stop: threading.Event, started: ExitStack) -> Settings:
    found = run_until(stop, found_stack(settings))
    if found is None and _names_engines(settings):
        found = settings
    if found is None:
        return started.enter_context(running_stack(settings, stop)).settings
    say("using the stack that runs already")
    run_until(stop, wait_for_roles(found, show_role, READY_TIMEOUT_S))
    return found


def _names_engines(settings: Settings) -> bool:
    """Whether a person set up engines elsewhere: then the roles run there too, and nothing is started here."""
    return settings.kafka.bootstrap_servers != KafkaSettings().bootstrap_servers


async def _demonstrate(settings: Settings, *, is_exit: bool) -> None:
    from pdm.role_client import RoleClient
    from pdm.watch import Fault, open_watcher

    async with (
        RoleClient(settings, "simulator") as simulator,
        open_watcher(settings) as watcher,
        _machines_on_normal(simulator),
    ):
        await _wait_until_clear(settings, watcher)
        known = await watcher.episodes(FAULTY)
        run = await simulator.ask("POST", f"/simulate/{FAULTY}", profile="overstrain", duration_sec=FAULT_S)
        began_s = time.monotonic()
        say("")
        say(f"{0:6.2f} s  injected   overstrain on {FAULTY}")
        fault = Fault(FAULTY, datetime.fromisoformat(run["last_sent_at"]), known)
        journey = await watcher.follow(fault, lambda hop: _show(hop, began_s))
        _conclude(journey)
        if not is_exit:
            await _stay(settings, watcher, journey)


@asynccontextmanager
async def _machines_on_normal(simulator: "RoleClient") -> AsyncIterator[None]:
    """Three machines run inside the block. Afterwards the faulty one is on normal, and those started here stop."""
    running = {run["machine_id"] for run in (await simulator.ask("GET", "/simulations", limit=1000))["items"]}
    ours = [machine_id for machine_id in MACHINES if machine_id not in running]
    try:
        for machine_id in MACHINES:
            rate_hz = RATE_HZ if machine_id in ours else None
            await simulator.ask("POST", f"/simulate/{machine_id}", profile="normal", rate_hz=rate_hz)
        say(f"{', '.join(MACHINES)} run on normal")
        yield
    finally:
        with suppress(PdmError):  # a simulator that is gone simulates nothing
            await simulator.ask("POST", f"/simulate/{FAULTY}", profile="normal")
            for machine_id in ours:
                await simulator.ask("DELETE", f"/simulate/{machine_id}")


async def _wait_until_clear(settings: Settings, watcher: "Watcher") -> None:
    """Until a reading of this run has been judged and no episode is open. Raises Retryable after CLEAR_TIMEOUT_S."""
    from pdm.feature_store import FeatureStore

    store, began = FeatureStore(settings.redis, "portal"), time.monotonic()
    seen_before = (await store.read(FAULTY)).get("last_seen")
    with console.status(f"waiting until {FAULTY} is clear"):
        try:
            while True:
                features = await store.read(FAULTY)
                is_judged = features.get("last_seen") not in (None, seen_before)
                if is_judged and features.get("state") == "clear" and not await watcher.has_open_episode(FAULTY):
                    break
                if time.monotonic() - began > CLEAR_TIMEOUT_S:
                    why = "its episode is still open" if is_judged else "no reading of it has been judged"
                    raise Retryable(f"{FAULTY} is not clear after {CLEAR_TIMEOUT_S:.0f} s: {why}", hint="`pdm doctor`")
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await store.close()
    say(f"{FAULTY} is clear after {time.monotonic() - began:.1f} s")


def _show(hop: "Hop", began_s: float) -> None:
    say(f"{max(0.0, hop.at_s - began_s):6.2f} s  {hop.name:<10} {hop.detail}")


def _conclude(journey: "Journey") -> None:
    """Raises PdmError when the hops tell different things."""
    if differences := journey.disagreements():
        raise PdmError(f"the hops disagree: {'; '.join(differences)}")
    latencies = [f"{name} {seconds * 1000:.0f} ms" for name, seconds in journey.latencies_s().items() if name != "sent"]
    say("")
    say("All hops agree. From the deciding reading on the topic: " + ", ".join(latencies))


async def _stay(settings: Settings, watcher: "Watcher", journey: "Journey") -> None:
    """Until Ctrl-C; tells what else people are told of this episode."""
    say("")
    say(f"Watch it at {without_credentials(settings.role_url('portal'))} · Ctrl-C ends the demo.")
    told = {journey.told[1]} if journey.told else set()
    while True:
        for message in await watcher.messages(journey):
            if message not in told:
                told.add(message)
                say(message)
        await asyncio.sleep(NEWS_EVERY_S)
