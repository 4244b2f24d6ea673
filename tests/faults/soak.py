"""The soak: half of what this machine holds, and a fault every half minute; or, with `--idle`, all of it and none.

Beside the usual outbox a second one, on the main server, idles all along: how far both slots are behind is watched.
"""

import argparse
import asyncio
import random
import resource
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pdm.audit import audit
from pdm.connect import SLOT
from pdm.errors import PdmError
from tests.faults.calibration import Calibration, calibrate
from tests.faults.fault import Act
from tests.faults.flood import Flood
from tests.faults.gauges import Gauge, RoleLooks, SlotLooks
from tests.faults.long_run import Outcome, Speaker, run_long
from tests.faults.one_server import add_second_outbox
from tests.faults.rig import Rig, Run, told_as
from tests.faults.roles import wait_until
from tests.faults.simulated import PROFILES, Simulated
from tests.faults.soak_acts import Draw, soak_acts
from tests.faults.steadiness import Growth, growths

FAULT_EVERY_S = 30.0
LOOK_EVERY_S = 1.0
SHARE = 0.5  # of the calibrated rate
HOLD_S = 60.0
SHORT_MINUTES = 10  # a shorter run is a trial of the soak itself: shortly calibrated, its quarters hold no old process
TRUTH_MACHINES, TRUTH_RATE_HZ = 8, 5.0
MAX_GROWTH = 1.05
OWN_SERVER_MIB, ONE_SERVER_MIB = 64, 256
SETTLED_WITHIN_S = 30.0
FLOOD, SIMULATED = "flood-", "simulated-"


@dataclass
class Soak:
    """One run: its engines, its load, and everything that watches."""

    rig: Rig
    flood: Flood
    simulated: Simulated
    slots: dict[str, SlotLooks]
    outcome: Outcome
    minutes: float
    acts_to_draw: Mapping[str, Act]
    usage: RoleLooks = field(init=False)
    speaker: Speaker = field(default_factory=Speaker)
    acts: list[dict[str, Any]] = field(default_factory=list)
    rate_hz: float = 0.0

    def __post_init__(self) -> None:
        self.usage = RoleLooks(self.rig.roles)

    def calibrate(self) -> None:
        hold_s = HOLD_S if self.minutes >= SHORT_MINUTES else 60 * self.minutes / 10
        found: Calibration = calibrate(self.rig, self.flood, hold_s)
        self.rate_hz = found.held.rate_hz
        self.outcome.figures["calibration"] = found.figures()

    def under_faults(self, rig: Rig, run: Run) -> None:
        """Leaves in `run.outage_s` the last fault's: until then everything must have settled again and again."""
        draw = Draw(self.acts_to_draw, random.Random(self.outcome.seed))
        self.flood.set_rate(SHARE * self.rate_hz)
        began = time.monotonic()
        end = began + 60 * self.minutes
        due = began + FAULT_EVERY_S / 2
        while (now := time.monotonic()) < end:
            if now >= due and end - now > FAULT_EVERY_S:
                self._act(run, *draw.next(), now - began)
                due = max(due + FAULT_EVERY_S, time.monotonic())
            self._look()
        self._compare_usage(began, time.monotonic())
        self._end_load()

    def at_full_rate(self) -> None:
        """No fault, no alert: both outboxes hold heartbeats alone."""
        self.flood.set_rate(self.rate_hz)
        began = time.monotonic()
        while time.monotonic() < began + 60 * self.minutes:
            self._look()
        self._compare_usage(began, time.monotonic())
        self._end_load()
        wait_until(lambda: self.rig.lag() == 0, SETTLED_WITHIN_S, "lag 0 after the load")

    def judge(self) -> None:
        """Everything that ever came in, and the load's own count against the rows."""
        began = time.monotonic()
        found = asyncio.run(audit(self.rig.settings))
        self.outcome.figures["everything"] = found.counts
        self.outcome.figures["audit_s"] = round(time.monotonic() - began, 1)
        self.outcome.figures["audit_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        self.outcome.findings += [f"all machines: {told_as(finding)}" for finding in found.findings]
        ((stored,),) = self.rig.ask("main", "SELECT count(*) FROM sensor_log WHERE starts_with(machine_id, %s)", FLOOD)
        ((alarms,),) = self.rig.ask(
            "ai", "SELECT count(*) FROM anomaly_history WHERE starts_with(machine_id, %s)", FLOOD
        )
        self.outcome.figures |= {"flood_acknowledged": self.flood.acked, "flood_stored": stored}
        self._require(
            stored == self.flood.acked, f"L: {self.flood.acked:,} of the load acknowledged, {stored:,} stored"
        )
        self._require(alarms == 0, f"A: {alarms} episodes of machines that were calm all along")

    def judge_slots(self) -> None:
        for server, bound_mib in (("own server", OWN_SERVER_MIB), ("one server", ONE_SERVER_MIB)):
            looks = self.slots[server]
            worst_mib = max(looks.max_behind_bytes, looks.max_held_bytes) / 2**20
            self._require(looks.looks > 0, f"W: the slot of the {server} was never seen")
            self._require(worst_mib < bound_mib, f"W: {worst_mib:.0f} MiB behind on the {server}, {bound_mib} allowed")
        self.outcome.figures["slots"] = {server: looks.figures() for server, looks in self.slots.items()}

    def _act(self, run: Run, name: str, act: Act, at_s: float) -> None:
        run.outage_s, began, trouble = 0.0, time.monotonic(), ""
        try:
            act(self.rig, run)
        except Exception as error:  # noqa: BLE001  # one fault's error must not end the soak
            trouble = repr(error)
            run.findings.append(f"R: {name} at {at_s:.0f} s: {trouble}")
        self.rig.heal()
        passed_s = time.monotonic() - began
        self.acts.append(
            {
                "name": name,
                "at_s": round(at_s),
                "seconds": round(passed_s, 1),
                "outage_s": round(run.outage_s, 1),
                "error": trouble,
            }
        )

    def _look(self) -> None:
        self.simulated.keep_ordered()
        self.speaker.say_at_times(self._line)
        time.sleep(LOOK_EVERY_S)

    def _line(self) -> str:
        try:
            lag = f"{self.rig.lag():,}"
        except PdmError:
            lag = "unknown"
        behind = ", ".join(f"{looks.last_behind_bytes / 2**20:.1f}" for looks in self.slots.values())
        last = f", {len(self.acts)} faults, the last: {self.acts[-1]['name']}" if self.acts else ""
        return f"{self.flood.acked:,} readings acknowledged, lag {lag}, slots {behind} MiB behind{last}"

    def _end_load(self) -> None:
        self.flood.finish()
        wait_until(self.simulated.stop, 20, "the simulator stops its machines")

    def _compare_usage(self, began: float, ended: float) -> None:
        found = growths(self.usage.samples, began, ended)
        self.outcome.figures["usage"] = [asdict(growth) for growth in found]
        if self.minutes >= SHORT_MINUTES:
            self.outcome.findings += filter(None, map(_told_of, found))

    def _require(self, is_so: object, otherwise: str) -> None:
        if not is_so:
            self.outcome.findings.append(otherwise)


def _told_of(growth: Growth) -> str | None:
    if growth.ratio is None:
        return f"M: {growth.role} lived too shortly to compare its {growth.value}"
    if growth.ratio > MAX_GROWTH:
        return f"M: {growth.role}: {growth.value} of the last quarter is {growth.ratio:.3f} x the second's"
    return None


def main() -> int:
    args = _arguments()
    kind, minutes = ("idle", args.idle) if args.idle else ("soak", args.minutes)
    outcome = Outcome(kind, f"{minutes:g} minutes", args.seed)
    return run_long(outcome, lambda folder: _live(folder, outcome, args.minutes, args.idle), args.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--idle", type=float, default=0, help="instead: minutes of the full rate without faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", default="", help="write the results there")
    return parser.parse_args()


def _live(folder: Path, outcome: Outcome, minutes: float, idle_minutes: float) -> None:
    acts_to_draw = soak_acts()  # before anything is started: a name that is gone is told at once
    with ExitStack() as open_:
        rig = open_.enter_context(Rig(folder, outcome.seed, has_links=not idle_minutes))
        second = add_second_outbox(rig)
        simulated = Simulated(rig, SIMULATED, ("normal",) if idle_minutes else PROFILES)
        simulated.role.wait_ready()
        flood = open_.enter_context(Flood(rig.settings.kafka.bootstrap_servers, FLOOD))
        slots = {"own server": SlotLooks(rig.settings.ai_db.conninfo("owner"), SLOT), "one server": second.looks()}
        soak = Soak(rig, flood, simulated, slots, outcome, idle_minutes or minutes, acts_to_draw)
        for look in (soak.usage.look, *(looks.look for looks in slots.values())):
            open_.enter_context(Gauge(look))
        soak.calibrate()
        try:
            _load(soak, is_idle=bool(idle_minutes))
        finally:
            outcome.figures["faults"] = soak.acts
            soak.judge_slots()
        soak.judge()


def _load(soak: Soak, *, is_idle: bool) -> None:
    if is_idle:
        soak.at_full_rate()
        return
    run = soak.rig.run("soak", soak.outcome.seed, soak.under_faults, machines=TRUTH_MACHINES, rate_hz=TRUTH_RATE_HZ)
    soak.outcome.findings += run.findings
    soak.outcome.figures |= run.figures


if __name__ == "__main__":
    sys.exit(main())
