"""The examples that stand in OpenAPI. Data only; a test holds each against its type."""

from collections.abc import Mapping
from typing import Any

_EPISODE_ID = "0b0e2c4e-6a0d-5d5a-9f57-3c1f1d0a7c11"
_REASON = "one-minute mean torque 71.3 Nm, limit 65 Nm"

STATUS: Mapping[str, Any] = {
    "machine_id": "machine-001",
    "site": None,
    "machine_group": None,
    "product_type": "L",
    "state": "critical",
    "stale": False,
    "degraded": False,
    "last_seen": "2025-11-07T15:10:01.412Z",
    "age_s": 0.341,
    "features": {
        "last_air_temp": 299.1,
        "last_process_temp": 309.5,
        "last_rpm": 1262.0,
        "last_torque": 78.4,
        "last_tool_wear": 121.0,
        "temp_1m_avg": 309.4,
        "air_temp_1m_avg": 299.0,
        "rpm_1m_avg": 1281.5,
        "torque_1m_avg": 71.3,
        "power_1m_avg": 9561.0,
        "failure_probability": 0.97,
        "anomaly_score": 3.2,
        "skew_s": 0.004,
    },
    "episode": {
        "episode_id": _EPISODE_ID,
        "severity": "critical",
        "failure_type": "Overstrain",
        "opened_at": "2025-11-07T15:09:22.100Z",
        "reasons": [_REASON],
    },
}
MACHINES: Mapping[str, Any] = {"machines": [STATUS], "next": None}
LOGS: Mapping[str, Any] = {
    "machine_id": "machine-001",
    "readings": [
        {
            "machine_id": "machine-001",
            "timestamp": "2025-11-07T15:10:01Z",
            "air_temp_k": 299.1,
            "process_temp_k": 309.5,
            "rpm": 1500.0,
            "torque_nm": 42.8,
            "tool_wear_min": 5.0,
            "product_type": "L",
            "channels": {"vibration_mm_s": 2.1},
        }
    ],
    "next": "WyIyMDI1LTExLTA3VDE1OjEwOjAxWiJd",
}
_ALERT: Mapping[str, Any] = {
    "episode_id": _EPISODE_ID,
    "machine_id": "machine-001",
    "seq": 1,
    "failure_type": "Overstrain",
    "failure_types": ["Overstrain"],
    "severity": "critical",
    "active": True,
    "opened_at": "2025-11-07T15:09:22.100Z",
    "detected_at": "2025-11-07T15:09:22.161Z",
    "last_seen_at": "2025-11-07T15:10:01Z",
    "closed_at": None,
    "close_reason": None,
    "score": 1.1,
    "reasons": [_REASON],
    "model_version": None,
    "source": "live",
    "received": True,
    "received_at": "2025-11-07T15:09:22.260Z",
    "received_seq": 1,
}
ALERTS: Mapping[str, Any] = {"alerts": [_ALERT], "next": None}
ALERT: Mapping[str, Any] = {
    "alert": _ALERT,
    "evidence": {"reading": LOGS["readings"][0], "features": {"torque_1m_avg_nm": 71.3}},
    "notifications": [
        {
            "seq": 1,
            "channel": "log",
            "state": "sent",
            "attempts": 1,
            "message": "!!긴급!! machine-001 과부하 감지",
            "detail": "",
            "settled_at": "2025-11-07T15:09:22.271Z",
        }
    ],
}


def ok(example: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route that answers 200 with such a body."""
    return {200: {"content": {"application/json": {"example": example}}}}
