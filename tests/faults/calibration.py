"""How much this machine holds: rising steps until the consumers fall behind, then the best step for a whole minute."""

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.faults.flood import Flood
from tests.faults.rig import Rig
from tests.faults.roles import wait_until
from tests.faults.runner import say

FIRST_HZ = 1_000.0
RISE = 1.4
FALL = 0.8
STEP_S = 8.0
WARM_S = 15.0  # a thousand machines are made known first
SETTLE_S = 3.0  # of a step, until its batches have their size
MIN_SHARE = 0.95  # of the rate, which the sender itself must reach
USUAL_LAG_S = 1.0  # what came in a second ago is committed by all groups: lag 0 but for what is in hand
MOST_LAG_S = 3.0  # a pause of the machine's, caught up with
STEPS = 16
TRIES = 8
DRAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """What one rate led to."""

    rate_hz: float
    seconds: float
    sent_hz: float
    usual_lag: float
    max_lag: int

    @property
    def is_held(self) -> bool:
        is_caught_up = self.usual_lag <= USUAL_LAG_S * self.rate_hz and self.max_lag <= MOST_LAG_S * self.rate_hz
        return is_caught_up and self.sent_hz >= MIN_SHARE * self.rate_hz


@dataclass(frozen=True, slots=True)
class Calibration:
    held: Held
    looks: list[Held]

    def figures(self) -> dict[str, Any]:
        return {"held": asdict(self.held), "steps": [asdict(look) for look in self.looks]}


def calibrate(rig: Rig, flood: Flood, hold_s: float) -> Calibration:
    """Leaves the load at 0 and nothing waiting. Raises TimeoutError when no rate at all is held."""
    flood.set_rate(FIRST_HZ)
    time.sleep(WARM_S)
    looks = [_look(rig, flood, FIRST_HZ, STEP_S)]
    while looks[-1].is_held and len(looks) < STEPS:
        looks.append(_look(rig, flood, looks[-1].rate_hz * RISE, STEP_S))
    rate_hz = max((look.rate_hz for look in looks if look.is_held), default=FIRST_HZ / 2)
    for _ in range(TRIES):
        _drain(rig, flood)
        looks.append(_look(rig, flood, rate_hz, hold_s))
        if looks[-1].is_held:
            _drain(rig, flood)
            return Calibration(looks[-1], looks)
        rate_hz *= FALL
    raise TimeoutError(f"no rate is held for {hold_s:.0f} s; the last try was {looks[-1]}")


def _look(rig: Rig, flood: Flood, rate_hz: float, seconds: float) -> Held:
    flood.set_rate(rate_hz)
    time.sleep(SETTLE_S)
    began, acked, lags = time.monotonic(), flood.acked, [rig.lag()]
    while time.monotonic() - began < seconds:
        time.sleep(1)
        lags.append(rig.lag())
    passed_s = time.monotonic() - began
    sent_hz = round((flood.acked - acked) / passed_s)
    look = Held(round(rate_hz), round(passed_s, 1), sent_hz, statistics.median(lags), max(lags))
    lag = f"lag {look.usual_lag:,.0f}, at most {look.max_lag:,}"
    say(f"{look.rate_hz:,.0f}/s for {look.seconds:.0f} s: {look.sent_hz:,.0f}/s sent, {lag}")
    return look


def _drain(rig: Rig, flood: Flood) -> None:
    flood.set_rate(0)
    wait_until(lambda: rig.lag() == 0, DRAIN_S, "lag 0 without load")
