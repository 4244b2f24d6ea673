"""Runs faults in lanes, each lane a process with a stack of its own, and writes what was seen as JSON."""

import argparse
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.catalogue import LEFT_OUT, all_faults
from tests.faults.fault import Fault

QUICK_SEEDS = 1
POLL_S = 0.2
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Result:
    """One fault with one seed. No finding: it passed."""

    name: str
    rows: list[str]
    seed: int
    seconds: float
    findings: list[str]
    figures: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    """Exit code 1 when a fault failed, 2 when none has that name."""
    args = _arguments()
    faults = {fault.name: fault for fault in all_faults()}
    if args.list:
        for fault in faults.values():
            say(f"{fault.name}  (rows {', '.join(fault.rows)})")
        return 0
    unable = {fault.name: fault.needs for fault in faults.values() if fault.needs}
    jobs = _jobs({name: fault for name, fault in faults.items() if name not in unable}, args)
    if not jobs:
        say(f"no fault is called {' or '.join(args.only)}; `--list` names them all")
        return 2
    began = time.monotonic()

    def keep(results: Sequence[Result]) -> None:
        """After each: a run that is cut short has told what it saw."""
        if args.json:
            _write(Path(args.json), results, time.monotonic() - began)

    try:
        results = _run_in_lanes(jobs, faults, args.lanes, keep)
    except KeyboardInterrupt:
        say("stopped; the lanes end their engines")  # their input has ended, and with it they do
        return INTERRUPTED
    for what, why in {**{f"row {row}": why for row, why in LEFT_OUT.items()}, **unable}.items():
        say(f"left out: {what}: {why}")
    failed = [result for result in results if result.findings]
    for result in failed:
        say(f"failed: {result.name}, seed {result.seed}: {'; '.join(result.findings[:3])}")
    say(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every fault and end")
    parser.add_argument("--quick", action="store_true", help="the ones that CI runs, one seed each")
    parser.add_argument("--only", action="append", default=[], help="names that contain this text; may be repeated")
    parser.add_argument("--seed", type=int, help="this seed instead of 0, 1, 2")
    parser.add_argument("--lanes", type=int, default=2, help="stacks side by side")
    parser.add_argument("--json", default="", help="write the results there")
    return parser.parse_args()


def _jobs(faults: dict[str, Fault], args: argparse.Namespace) -> list[Job]:
    """Longest first, so that no lane ends long after the others."""
    texts = args.only or [""]
    wanted = [fault for fault in faults.values() if any(text in fault.name for text in texts)]
    chosen = [fault for fault in wanted if fault.is_quick or not args.quick]
    chosen.sort(key=lambda fault: -fault.expected_s)
    seeds = {
        fault.name: [args.seed] if args.seed is not None else range(QUICK_SEEDS if args.quick else fault.seeds)
        for fault in chosen
    }
    return [Job(fault.name, seed) for fault in chosen for seed in seeds[fault.name]]


def _run_in_lanes(
    jobs: Sequence[Job], faults: dict[str, Fault], lanes: int, keep: Callable[[Sequence[Result]], None]
) -> list[Result]:
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: list[Result] = []
    threads = [
        threading.Thread(target=_drive, args=[number, waiting, faults, results], daemon=True)
        for number in range(min(lanes, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    told = 0
    while told < len(jobs):
        time.sleep(POLL_S)
        for result in results[told:]:
            told += 1
            _tell(result, told, len(jobs))
            keep(results[:told])
    for thread in threads:
        thread.join()
    return sorted(results, key=lambda result: (result.name, result.seed))


def _drive(number: int, waiting: "queue.SimpleQueue[Job]", faults: dict[str, Fault], results: list[Result]) -> None:
    """Hand one job after the other to a lane. After one that failed the next gets a new lane, with other engines."""
    lane: subprocess.Popen[str] | None = None
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            break
        lane = lane if lane is not None and lane.poll() is None else _start_lane(number)
        result = _ask(lane, job, faults[job.name])
        results.append(result)
        if result.findings:
            _end_lane(lane)
            lane = None
    if lane is not None:
        _end_lane(lane)


def _end_lane(lane: "subprocess.Popen[str]") -> None:
    """Its input ends, and so does it, within the time that a stack takes to stop."""
    if lane.stdin is not None:
        lane.stdin.close()
    lane.wait(120)


def _start_lane(number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.faults.lane", str(number)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(lane: "subprocess.Popen[str]", job: Job, fault: Fault) -> Result:
    assert lane.stdin is not None
    assert lane.stdout is not None
    began = time.monotonic()
    try:
        lane.stdin.write(json.dumps(asdict(job)) + "\n")
        lane.stdin.flush()
        answer = lane.stdout.readline()
    except OSError:
        answer = ""
    if not answer:
        return Result(job.name, list(fault.rows), job.seed, time.monotonic() - began, ["the lane died"])
    return Result(**json.loads(answer))


def _tell(result: Result, done: int, total: int) -> None:
    mark = "✗" if result.findings else "✓"
    recovered = result.figures.get("recovered_s")
    more = f", settled in {recovered} s" if recovered is not None else ""
    say(f"{done:3}/{total} {mark} {result.name}, seed {result.seed}: {result.seconds:.0f} s{more}")
    for finding in result.findings[:8]:
        say(f"        {finding}")


def _write(path: Path, results: Iterable[Result], seconds: float) -> None:
    document = {
        "machine": machine_facts(),
        "seconds": round(seconds),
        "left_out": LEFT_OUT,
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine_facts() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
