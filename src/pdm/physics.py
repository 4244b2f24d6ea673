"""The laws and limits of the AI4I-2020 milling process, in float64. Pure; floats and numpy arrays alike.

Limits: S. Matzka, AI4I 2020 (doi:10.24432/C5HS5C). They reproduce every HDF, PWF and OSF label of the 10,000 rows, but
only in float64 on the printed values: at ΔT = 8.6 K the label is decided in the last bit, so never use float32 here.
The speed law is the one recovered from the data; the data set's own text ("2860 W") is wrong for its file.
"""

import math
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])

HEAT_MIN_DELTA_T_K: Final = 8.6
HEAT_MIN_SPEED_RPM: Final = 1380.0
POWER_MIN_W: Final = 3500.0
POWER_MAX_W: Final = 9000.0
STRAIN_LIMIT_MIN_NM: Final = {"L": 11_000.0, "M": 12_000.0, "H": 13_000.0}
MEAN_TORQUE_LIMIT_NM: Final = 65.0  # the plant's rule on the one-minute mean
MEAN_TORQUE_RELEASE_NM: Final = 60.0

WEAR_STEP_MIN: Final = {"L": 2.0, "M": 3.0, "H": 5.0}  # tool wear added by one product = its machining time
TYPE_SHARE: Final = {"L": 0.6, "M": 0.3, "H": 0.1}
SPEED_RESIDUAL_SD_RPM: Final = 50.0
AIR_TEMP_MEAN_K: Final = 300.0
AIR_TEMP_SD_K: Final = 2.0
DELTA_T_MEAN_K: Final = 10.0
DELTA_T_SD_K: Final = 1.0
TORQUE_MEAN_NM: Final = 40.0
TORQUE_SD_NM: Final = 10.0
TORQUE_MIN_NM: Final = 3.8  # the smallest in the data set
# How long both temperature walks remember: their correlation from one product (156 s) to the next is 0.9994 and 0.9975.
AIR_TEMP_MEMORY_S: Final = 260_000.0
DELTA_T_MEMORY_S: Final = 62_400.0

LONGEST_TOOL_LIFE_MIN: Final = 253.0  # of the 119 tool changes in the data set
TOOL_FAILURE_SHARE: Final = 46 / 119  # of the tool ends; no sensor differs between those that failed and the others

# The sensors' own error, one standard deviation: assumed, the data set has none.
SENSOR_SD_TEMP_K: Final = 0.1
SENSOR_SD_SPEED_RPM: Final = 10.0
SENSOR_SD_TORQUE_NM: Final = 0.5

# Two standard deviations of each derived quantity, from sensor errors of 0.1 K, 10 rpm and 0.5 Nm.
TWO_SIGMA_DELTA_T_K: Final = 0.14
TWO_SIGMA_SPEED_RPM: Final = 10.0
TWO_SIGMA_POWER_W: Final = 100.0
TWO_SIGMA_STRAIN_MIN_NM: Final = 150.0

_LOW_TORQUE_NM: Final = 11.5  # below it the file follows a straight line instead of the hyperbola
TOOL_END_FROM_MIN: Final = 198.0  # no tool of the data set fails before
_TOOL_END_WEAR_MIN: Final = (TOOL_END_FROM_MIN, 203.0, 208.0, 216.0, 222.0, 260.0)
_TOOL_END_SHARE: Final = (0.02, 0.05, 0.13, 0.20, 0.26, 0.27)


def delta_t_k(air_temp_k: Number, process_temp_k: Number) -> Number:
    """Process minus air temperature, K."""
    return process_temp_k - air_temp_k


def power_w(torque_nm: Number, rpm: Number) -> Number:
    """Mechanical power, W: torque times angular speed."""
    return torque_nm * rpm * (2 * math.pi / 60)


def strain_min_nm(tool_wear_min: Number, torque_nm: Number) -> Number:
    """Tool wear times torque, min·Nm."""
    return tool_wear_min * torque_nm


def strain_limit_min_nm(product_type: str | None) -> float:
    """The limit of the product's quality class; an unknown class gets the lowest one."""
    return STRAIN_LIMIT_MIN_NM.get(product_type or "L", STRAIN_LIMIT_MIN_NM["L"])


def speed_rpm(torque_nm: float) -> float:
    """Expected speed at a torque: 1000 + 20000/T, and 3000 − 30 T below 11.5 Nm (recovered from the data set)."""
    if torque_nm < _LOW_TORQUE_NM:
        return 3000.0 - 30.0 * torque_nm
    return 1000.0 + 20_000.0 / torque_nm


def speed_residual_sd_rpm(torque_nm: float) -> float:
    """Spread of the speed about its law; on the straight line of low torques the data set has none."""
    return 0.0 if torque_nm < _LOW_TORQUE_NM else SPEED_RESIDUAL_SD_RPM


def tool_end_probability(tool_wear_min: float) -> float:
    """How probable it is that a tool's life ends with the product begun at this wear."""
    if tool_wear_min < _TOOL_END_WEAR_MIN[0]:
        return 0.0
    return float(np.interp(tool_wear_min, _TOOL_END_WEAR_MIN, _TOOL_END_SHARE))


def overheats(delta_k: float, rpm: float) -> bool:
    """HDF: the process runs too close to the air temperature at a low speed."""
    return delta_k < HEAT_MIN_DELTA_T_K and rpm < HEAT_MIN_SPEED_RPM


def leaves_power_band(watts: float) -> bool:
    """PWF: less than 3500 W or more than 9000 W."""
    return watts < POWER_MIN_W or watts > POWER_MAX_W


def overstrains(strain: float, limit: float) -> bool:
    """OSF: wear times torque beyond the quality class's limit."""
    return strain > limit
