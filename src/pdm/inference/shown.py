"""What Redis shows of a machine after a batch, and what a stored transition keeps of it. Pure."""

from datetime import UTC, datetime

from pdm import physics
from pdm.events import Reading
from pdm.feature_store import Features
from pdm.inference.machine import Arrival, Machine

_LAST = {
    "last_air_temp": "air_temp_k",
    "last_process_temp": "process_temp_k",
    "last_rpm": "rpm",
    "last_torque": "torque_nm",
    "last_tool_wear": "tool_wear_min",
}


def features_of(machine: Machine, newest: Arrival) -> Features:
    """Every feature of the contract. The means are those of the window that the last decision judged."""
    means = machine.window.means()
    appended_at = datetime.fromtimestamp(newest.position.appended_ms / 1000, UTC)
    return {
        **{feature: machine.last_values.get(sensor) for feature, sensor in _LAST.items()},
        "last_seen": appended_at.isoformat(timespec="milliseconds"),
        "temp_1m_avg": means.process_temp_k,
        "air_temp_1m_avg": means.air_temp_k,
        "rpm_1m_avg": means.rpm,
        "torque_1m_avg": means.torque_nm,
        "power_1m_avg": means.power_w,
        "failure_probability": newest.score.failure if newest.score else None,
        "anomaly_score": machine.score,
        "state": machine.episode.severity if machine.episode else "clear",
        "skew_s": round(machine.clock.skew_s, 3),
    }


def stored_features(machine: Machine, reading: Reading) -> dict[str, float | None]:
    """The window and the limits by which a transition was decided."""
    means = machine.window.means()
    return {
        "temp_1m_avg_k": means.process_temp_k,
        "air_temp_1m_avg_k": means.air_temp_k,
        "rpm_1m_avg": means.rpm,
        "torque_1m_avg_nm": means.torque_nm,
        "power_1m_avg_w": means.power_w,
        "readings_in_window": len(machine.window.samples),
        "limit_strain_min_nm": physics.strain_limit_min_nm(reading.product_type),
        "limit_power_min_w": physics.POWER_MIN_W,
        "limit_power_max_w": physics.POWER_MAX_W,
        "limit_delta_t_k": physics.HEAT_MIN_DELTA_T_K,
        "limit_speed_rpm": physics.HEAT_MIN_SPEED_RPM,
        "limit_torque_1m_avg_nm": physics.MEAN_TORQUE_LIMIT_NM,
    }
