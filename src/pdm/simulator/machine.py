"""The physical state of one machine and how it moves on. Pure: no clock, no I/O, and every draw from its own seed.

Two streams of randomness: what the machine makes (products, tools) does not depend on how often it is read.
"""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pdm import physics
from pdm.events import ProductType, Reading
from pdm.simulator.profiles import Profile

MAX_DEVIATION_SD = 4.0  # bounded, so that a normal machine can be proved never to violate a rule
HEAT_LAG_S = 5.0  # the process temperature follows a changed operation with this time constant


@dataclass(frozen=True, slots=True)
class Operation:
    """How the machine is to be run. `product_type` None: drawn per product. `ramp_s`: time to get there."""

    profile: Profile
    product_type: ProductType | None = None
    ramp_s: float = 0.0


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What is true of the machine at one instant, before any sensor looks at it."""

    air_temp_k: float
    delta_t_k: float
    rpm: float
    torque_nm: float
    tool_wear_min: float
    product_type: ProductType
    product_number: int
    has_tool_failed: bool  # since the point before


@dataclass(slots=True)
class Walk:
    """A stationary random walk (Ornstein-Uhlenbeck) of mean 0 and standard deviation 1: it never drifts off."""

    memory_s: float
    value: float

    def move(self, dt_s: float, draw: float) -> None:
        kept = math.exp(-dt_s / self.memory_s)
        self.value = self.value * kept + math.sqrt(1.0 - kept * kept) * draw


class Machine:
    """One machine, from `elapsed_s` = 0 on. The same seed, id and calls give the same points and readings."""

    def __init__(self, machine_id: str, seed: int, operation: Operation) -> None:
        entropy = np.random.SeedSequence([seed, *machine_id.encode()])
        self._process, self._sensors = (np.random.default_rng(child) for child in entropy.spawn(2))
        self.machine_id = machine_id
        self.seed = seed
        self.elapsed_s = 0.0
        self.product_number = 0
        self.tool_wear_min = self._process.uniform(0.0, operation.profile.change_tool_at_min or 215.0)
        self._air = Walk(physics.AIR_TEMP_MEMORY_S, self._process.standard_normal())
        self._heat = Walk(physics.DELTA_T_MEMORY_S, self._process.standard_normal())
        self._has_tool_failed = False
        self._operation = operation
        self._switched_at_s = 0.0
        self._start_product()
        self._delta_t_k = self._from_delta_t_k = _delta_t_target_k(operation.profile, self._heat.value)
        self._from_torque_nm = self._product_torque_nm
        self._torque_nm = self._product_torque_nm

    def switch(self, operation: Operation) -> None:
        """Run differently from now on: a new product, the same tool and temperatures, reached within `ramp_s`."""
        self._from_torque_nm, self._from_delta_t_k = self._torque_nm, self._delta_t_k
        self._operation, self._switched_at_s = operation, self.elapsed_s
        self._start_product()

    def advance_to(self, elapsed_s: float) -> OperatingPoint:
        """Let the machine work until `elapsed_s`, which never goes back; return what is true then."""
        dt_s = elapsed_s - self.elapsed_s
        self._work(dt_s)
        self.elapsed_s = elapsed_s
        air_draw, heat_draw, speed_draw = self._sensors.standard_normal(3).tolist()
        self._air.move(dt_s, air_draw)
        self._heat.move(dt_s, heat_draw)
        self._follow_operation(dt_s)
        has_failed, self._has_tool_failed = self._has_tool_failed, False
        residual_rpm = _clipped(speed_draw) * physics.speed_residual_sd_rpm(self._torque_nm)
        return OperatingPoint(
            air_temp_k=physics.AIR_TEMP_MEAN_K + physics.AIR_TEMP_SD_K * self._air.value,
            delta_t_k=self._delta_t_k,
            rpm=physics.speed_rpm(self._torque_nm) + residual_rpm,
            torque_nm=self._torque_nm,
            tool_wear_min=self.tool_wear_min,
            product_type=self._product_type,
            product_number=self.product_number,
            has_tool_failed=has_failed,
        )

    def measure(self, point: OperatingPoint, timestamp: datetime) -> Reading:
        """What the sensors say of a point: each with its own error, and printed as the data set prints it."""
        air, process, speed, torque = map(_clipped, self._sensors.standard_normal(4).tolist())
        process_temp_k = point.air_temp_k + point.delta_t_k
        return Reading(
            machine_id=self.machine_id,
            timestamp=timestamp,
            air_temp_k=round(point.air_temp_k + physics.SENSOR_SD_TEMP_K * air, 1),
            process_temp_k=round(process_temp_k + physics.SENSOR_SD_TEMP_K * process, 1),
            rpm=round(point.rpm + physics.SENSOR_SD_SPEED_RPM * speed),
            torque_nm=round(max(0.0, point.torque_nm + physics.SENSOR_SD_TORQUE_NM * torque), 1),
            tool_wear_min=round(point.tool_wear_min, 1),
            product_type=point.product_type,
        )

    def _follow_operation(self, dt_s: float) -> None:
        """Move torque and ΔT to where the ramp stands now; torque follows at once, heat with its lag."""
        ramp_s = self._operation.ramp_s
        share = 1.0 if ramp_s <= 0 else min(1.0, (self.elapsed_s - self._switched_at_s) / ramp_s)
        wanted_k = _delta_t_target_k(self._operation.profile, self._heat.value)
        wanted_k = self._from_delta_t_k + share * (wanted_k - self._from_delta_t_k)
        self._delta_t_k = wanted_k + (self._delta_t_k - wanted_k) * math.exp(-dt_s / HEAT_LAG_S)
        self._torque_nm = self._from_torque_nm + share * (self._product_torque_nm - self._from_torque_nm)

    def _work(self, dt_s: float) -> None:
        """Wear the tool and finish products for `dt_s`, stopping wherever something changes on the way."""
        left_s = dt_s
        while left_s > 0:
            per_s, until_min = self._wear_pace()
            wear_left_s = (until_min - self.tool_wear_min) / per_s
            span_s = min(left_s, self._product_left_s, wear_left_s)
            self.tool_wear_min = until_min if span_s == wear_left_s else self.tool_wear_min + span_s * per_s
            self._product_left_s -= span_s
            left_s -= span_s
            self._change_worn_tool()
            if self._product_left_s <= 0:
                self._end_product()

    def _wear_pace(self) -> tuple[float, float]:
        """Minutes of wear a second, and the wear up to which that pace or the tool holds."""
        profile = self._operation.profile
        change_at_min = profile.change_tool_at_min or math.inf
        if self.tool_wear_min < profile.fast_wear_until_min:
            return profile.wear_factor / 60, min(profile.fast_wear_until_min, change_at_min)
        return 1 / 60, change_at_min

    def _change_worn_tool(self) -> None:
        change_at_min = self._operation.profile.change_tool_at_min
        if change_at_min is not None and self.tool_wear_min >= change_at_min:
            self.tool_wear_min = 0.0

    def _end_product(self) -> None:
        if self._operation.profile.change_tool_at_min is None:
            end_draw, failure_draw = self._process.random(2).tolist()
            # The data set's rows show the wear at which a product was begun.
            if end_draw < physics.tool_end_probability(self._product_wear_min):
                self.tool_wear_min = 0.0
                self._has_tool_failed = failure_draw < physics.TOOL_FAILURE_SHARE
        self._start_product()

    def _start_product(self) -> None:
        self._change_worn_tool()
        self._product_wear_min = self.tool_wear_min
        self._product_type: ProductType = self._operation.product_type or self._draw_type()
        self._product_torque_nm = self._draw_torque_nm()
        self._product_left_s = 60 * physics.WEAR_STEP_MIN[self._product_type]
        self.product_number += 1

    def _draw_type(self) -> ProductType:
        draw = self._process.random()
        if draw < physics.TYPE_SHARE["L"]:
            return "L"
        return "M" if draw < physics.TYPE_SHARE["L"] + physics.TYPE_SHARE["M"] else "H"

    def _draw_torque_nm(self) -> float:
        law = self._operation.profile.torque
        while True:
            torque_nm = law.mean_nm + law.sd_nm * self._process.standard_normal()
            if law.lowest_nm <= torque_nm <= law.highest_nm:
                return torque_nm


def _delta_t_target_k(profile: Profile, walk: float) -> float:
    """Where ΔT settles: the AI4I walk itself, or the same walk folded into the profile's band."""
    if profile.delta_t_band_k is None:
        return physics.DELTA_T_MEAN_K + physics.DELTA_T_SD_K * walk
    lowest_k, highest_k = profile.delta_t_band_k
    return lowest_k + (highest_k - lowest_k) * 0.5 * (1.0 + math.erf(walk / math.sqrt(2)))


def _clipped(deviation_sd: float) -> float:
    return max(-MAX_DEVIATION_SD, min(MAX_DEVIATION_SD, deviation_sd))
