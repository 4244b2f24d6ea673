"""The rules that guard a machine: three AI4I limits and the plant's one-minute mean torque. Pure.

Each limit says of one reading whether it is violated, and whether the reading is inside by two standard deviations of
its quantity. A reading counts neither for nor against a limit whose sensor it lacks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum
from typing import Literal

from pdm import physics
from pdm.events import FailureType, Reading

LimitName = Literal["heat", "power", "strain"]

PRECEDENCE: tuple[FailureType, ...] = ("Overstrain", "HeatDissipation", "Power", "ToolWear", "Unknown")
MODE_OF_LIMIT: dict[LimitName, FailureType] = {"heat": "HeatDissipation", "power": "Power", "strain": "Overstrain"}
OPEN_HITS, OPEN_OF = 3, 5
RELEASE_STREAK = 10


@dataclass(frozen=True, slots=True)
class Judgement:
    """One limit on one reading. `margin` tells a violation in engineering units; it is empty where there is none."""

    is_violated: bool
    is_inside: bool
    margin: str = ""


def judge_heat(reading: Reading) -> Judgement | None:
    if reading.air_temp_k is None or reading.process_temp_k is None or reading.rpm is None:
        return None
    delta_k = physics.delta_t_k(reading.air_temp_k, reading.process_temp_k)
    if physics.overheats(delta_k, reading.rpm):
        heat = f"ΔT {delta_k:.1f} K below {physics.HEAT_MIN_DELTA_T_K} K"
        speed = f"{reading.rpm:,.0f} rpm below {physics.HEAT_MIN_SPEED_RPM:,.0f} rpm"
        return Judgement(is_violated=True, is_inside=False, margin=f"{heat} at {speed}")
    is_cool = delta_k >= physics.HEAT_MIN_DELTA_T_K + physics.TWO_SIGMA_DELTA_T_K
    is_fast = reading.rpm >= physics.HEAT_MIN_SPEED_RPM + physics.TWO_SIGMA_SPEED_RPM
    return Judgement(is_violated=False, is_inside=is_cool or is_fast)


def judge_power(reading: Reading) -> Judgement | None:
    if reading.torque_nm is None or reading.rpm is None:
        return None
    watts = physics.power_w(reading.torque_nm, reading.rpm)
    lowest, highest = physics.POWER_MIN_W, physics.POWER_MAX_W
    if physics.leaves_power_band(watts):
        side = f"above {highest:,.0f} W" if watts > highest else f"below {lowest:,.0f} W"
        return Judgement(is_violated=True, is_inside=False, margin=f"power {watts:,.0f} W {side}")
    is_inside = lowest + physics.TWO_SIGMA_POWER_W <= watts <= highest - physics.TWO_SIGMA_POWER_W
    return Judgement(is_violated=False, is_inside=is_inside)


def judge_strain(reading: Reading) -> Judgement | None:
    if reading.torque_nm is None or reading.tool_wear_min is None:
        return None
    strain = physics.strain_min_nm(reading.tool_wear_min, reading.torque_nm)
    limit = physics.strain_limit_min_nm(reading.product_type)
    if physics.overstrains(strain, limit):
        return Judgement(is_violated=True, is_inside=False, margin=f"strain {strain:,.0f} of {limit:,.0f} min·Nm")
    return Judgement(is_violated=False, is_inside=strain <= limit - physics.TWO_SIGMA_STRAIN_MIN_NM)


LIMITS: dict[LimitName, Callable[[Reading], Judgement | None]] = {
    "heat": judge_heat,
    "power": judge_power,
    "strain": judge_strain,
}


@dataclass(frozen=True, slots=True)
class Hit:
    """A reading that counted for one limit: kept while it can still open an episode."""

    is_violated: bool
    torque_nm: float | None
    margin: str


@dataclass(frozen=True, slots=True)
class LimitCounter:
    """Persistence of one limit: it opens on 3 of its last 5 readings and releases after 10 in a row well inside."""

    recent: tuple[Hit, ...] = ()
    inside_streak: int = 0
    judged: int = 0  # how many
    judged_s: float = 0.0  # append time of the newest reading that had the sensors

    def count(self, reading: Reading, judgement: Judgement | None, append_s: float, memory_s: float) -> "LimitCounter":
        """Sensors that come back after `memory_s` begin anew, as they would after a restart."""
        if judgement is None:
            return self
        hit = Hit(judgement.is_violated, reading.torque_nm, judgement.margin)
        is_known = append_s - self.judged_s <= memory_s
        known = self if is_known else LimitCounter()
        streak = known.inside_streak + 1 if judgement.is_inside else 0
        return LimitCounter((*known.recent, hit)[-OPEN_OF:], streak, known.judged + 1, append_s)

    @property
    def violations(self) -> list[Hit]:
        return [hit for hit in self.recent if hit.is_violated]

    @property
    def opens(self) -> bool:
        return len(self.violations) >= OPEN_HITS

    @property
    def holds(self) -> bool | None:
        """Whether the limit keeps an episode open; None where too little is known to tell."""
        if self.inside_streak >= RELEASE_STREAK:
            return False
        return True if self.judged > self.inside_streak else None

    @property
    def overload_nm(self) -> float | None:
        """Mean torque of the violating readings where it is the plant's limit or more: then it is Overstrain.

        At 70-90 Nm the speed law gives 9.4-11.5 kW, so the power limit breaks at once and strain only later.
        """
        torques = [hit.torque_nm for hit in self.violations if hit.torque_nm is not None]
        mean_nm = fsum(torques) / len(torques) if torques else 0.0
        return mean_nm if mean_nm >= physics.MEAN_TORQUE_LIMIT_NM else None
