"""The model's inputs from readings, in float64. Pure; the same code serves training and the stream.

Limit distances squashed in sensor-noise units, the same distances on a coarse scale, and which sensors are missing. No
absolute temperature and no id: a model that learned those would fail on the next hot day and on every new machine.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdm import physics
from pdm.events import Reading

Matrix = NDArray[np.float64]

NAMES = (
    "heat_delta_t_fine",
    "heat_speed_fine",
    "power_low_fine",
    "power_high_fine",
    "strain_fine",
    "wear_late",
    "heat_delta_t_coarse",
    "heat_speed_coarse",
    "power_coarse",
    "strain_coarse",
    "temp_missing",
    "rpm_missing",
    "torque_missing",
    "wear_missing",
)
_SIGMA_K, _SIGMA_RPM, _SIGMA_W, _SIGMA_MIN_NM = 0.1, 10.0, 100.0, 150.0
_TYPICAL_POWER_W = 6_280.0  # mean of the data set


def columns(readings: Sequence[Reading]) -> tuple[Matrix, Matrix]:
    """Sensors of shape (n, 5) in the order of events.SENSORS, NaN where missing; strain limits (n,), min·Nm."""
    sensors = np.array([reading.sensor_values() for reading in readings], dtype=np.float64).reshape(len(readings), 5)
    limits = np.array([physics.strain_limit_min_nm(reading.product_type) for reading in readings], dtype=np.float64)
    return sensors, limits


def features(sensors: Matrix, strain_limits: Matrix) -> Matrix:
    """Shape (n, len(NAMES)) from sensors (n, 5) and strain limits (n,). A missing sensor gives 0 and its mask bit."""
    air, process, rpm, torque, wear = sensors.T
    delta_k = physics.delta_t_k(air, process)
    watts = physics.power_w(torque, rpm)
    strain_over = physics.strain_min_nm(wear, torque) - strain_limits
    found = np.column_stack(
        [
            np.tanh((physics.HEAT_MIN_DELTA_T_K - delta_k) / _SIGMA_K),
            np.tanh((physics.HEAT_MIN_SPEED_RPM - rpm) / _SIGMA_RPM),
            np.tanh((physics.POWER_MIN_W - watts) / _SIGMA_W),
            np.tanh((watts - physics.POWER_MAX_W) / _SIGMA_W),
            np.tanh(strain_over / _SIGMA_MIN_NM),
            np.clip((wear - 195.0) / 20.0, 0.0, 3.0),
            np.clip((physics.HEAT_MIN_DELTA_T_K - delta_k) / 2.0, -2.0, 2.0),
            np.clip((physics.HEAT_MIN_SPEED_RPM - rpm) / 300.0, -5.0, 5.0),
            np.clip((watts - _TYPICAL_POWER_W) / 1_000.0, -10.0, 10.0),
            np.clip(strain_over / 3_000.0, -5.0, 5.0),
        ]
    )
    missing = np.column_stack([np.isnan(delta_k), np.isnan(rpm), np.isnan(torque), np.isnan(wear)])
    return np.hstack([np.nan_to_num(found, nan=0.0), missing.astype(np.float64)])


def rule_labels(sensors: Matrix, strain_limits: Matrix) -> Matrix:
    """Shape (n, 3), 1.0 where a reading breaks the limit of Overstrain, HeatDissipation, Power; a NaN breaks none."""
    air, process, rpm, torque, wear = sensors.T
    watts = physics.power_w(torque, rpm)
    delta_k = physics.delta_t_k(air, process)
    return np.column_stack(
        [
            physics.strain_min_nm(wear, torque) > strain_limits,
            (delta_k < physics.HEAT_MIN_DELTA_T_K) & (rpm < physics.HEAT_MIN_SPEED_RPM),
            (watts < physics.POWER_MIN_W) | (watts > physics.POWER_MAX_W),
        ]
    ).astype(np.float64)
