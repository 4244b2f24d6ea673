"""Networks: every link slow, thin, mute, cut and chopped. Each fault holds for all clients of one engine."""

import time
from collections.abc import Iterator

from tests.faults.engines import Engine
from tests.faults.fault import Act, Fault
from tests.faults.proxy import CLEAR, Weather
from tests.faults.rig import Rig, Run

ENGINES: tuple[Engine, ...] = ("kafka", "postgres-main", "postgres-ai", "valkey")
LATENCY = Weather(latency_s=0.2, jitter_s=0.1)
THIN = Weather(bytes_per_s=64 * 1024)
BLACK_HOLE = Weather(is_black_hole=True)
CHOPPED = Weather(slice_bytes=1)
HELD_S = 12.0
RESET_EVERY_S = 5.0
RESETS = 3
# A sender that is cut off for a minute is a machine that was silent: its episode ends as a gap, by design.
HOLE_S: dict[Engine, float] = {"kafka": 40.0, "postgres-main": 60.0, "postgres-ai": 60.0, "valkey": 60.0}


def faults() -> Iterator[Fault]:
    for engine in ENGINES:
        yield Fault(f"latency to {engine}", ("33",), _hold(engine, LATENCY, HELD_S), expected_s=30)
        yield Fault(f"64 KB a second to {engine}", ("34",), _hold(engine, THIN, HELD_S), expected_s=30)
        yield Fault(
            f"black hole to {engine}",
            ("35",),
            _hold(engine, BLACK_HOLE, HOLE_S[engine]),
            expected_s=HOLE_S[engine] + 40,
        )
        yield Fault(f"resets to {engine}", ("36",), _resets(engine), is_quick=engine == "postgres-ai", expected_s=35)
        yield Fault(f"one-byte slices to {engine}", ("37",), _hold(engine, CHOPPED, HELD_S), expected_s=30)


def _hold(engine: Engine, weather: Weather, seconds: float) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.set_links(engine, weather)
            time.sleep(seconds)
            rig.set_links(engine, CLEAR)

    return act


def _resets(engine: Engine) -> Act:
    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            for _ in range(RESETS):
                run.figures["connections_cut"] = run.figures.get("connections_cut", 0) + rig.reset_links(engine)
                time.sleep(RESET_EVERY_S)
        run.require(run.figures["connections_cut"], f"the fault itself: nothing was connected to {engine}")

    return act
