"""How a machine stands: newest values, their age and the open episode, put together. Pure; the clock is handed in."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from pdm.store.fleet import KnownMachine
from pdm.store.history import StoredReading

State = Literal["critical", "warning", "silent", "normal"]
STATES: tuple[State, ...] = ("critical", "warning", "silent", "normal")  # worst first


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """The features of `machine:<id>:…` in Redis: K, rpm, Nm, min, W; `_1m_avg` are the means that the rules judged."""

    last_air_temp: float | None = None
    last_process_temp: float | None = None
    last_rpm: float | None = None
    last_torque: float | None = None
    last_tool_wear: float | None = None
    temp_1m_avg: float | None = None
    air_temp_1m_avg: float | None = None
    rpm_1m_avg: float | None = None
    torque_1m_avg: float | None = None
    power_1m_avg: float | None = None
    failure_probability: float | None = None
    anomaly_score: float | None = None
    skew_s: float | None = None


@dataclass(frozen=True, slots=True)
class OpenEpisode:
    episode_id: UUID
    severity: str
    failure_type: str
    opened_at: datetime
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """`state`: critical or warning by the open episode, else silent or normal. `stale`: the values are old.

    `degraded`: Redis had no values, so these are the newest row of `sensor_log`, and `last_seen` is its own time.
    """

    machine_id: str
    site: str | None
    machine_group: str | None
    product_type: str | None
    state: State
    stale: bool
    degraded: bool
    last_seen: datetime | None
    age_s: float | None
    features: FeatureValues
    episode: OpenEpisode | None


def stale_after_s(max_interval_s: float) -> float:
    """A machine unheard of for longer is silent."""
    return max(60.0, 12 * max_interval_s)


def machine_status(
    machine_id: str,
    known: KnownMachine | None,
    features: Mapping[str, str],
    newest: StoredReading | None,
    *,
    now: datetime,
    stale_s: float,
) -> MachineStatus:
    """`features` as stored in Redis; empty ones make the status fall back on `newest`."""
    last_seen = _last_seen(features)
    is_degraded = last_seen is None
    if last_seen is None and newest is not None:
        last_seen = newest.timestamp
    age_s = max(0.0, (now - last_seen).total_seconds()) if last_seen else None
    is_stale = age_s is None or age_s > stale_s
    episode = _episode(known) if known else None
    return MachineStatus(
        machine_id=machine_id,
        site=known.site if known else None,
        machine_group=known.machine_group if known else None,
        product_type=known.product_type if known else None,
        state=_state(episode, is_stale=is_stale),
        stale=is_stale,
        degraded=is_degraded,
        last_seen=last_seen,
        age_s=round(age_s, 3) if age_s is not None else None,
        features=_of_reading(newest) if is_degraded else _of_redis(features),
        episode=episode,
    )


def worst_first(machines: list[MachineStatus]) -> list[MachineStatus]:
    return sorted(machines, key=lambda machine: (STATES.index(machine.state), machine.machine_id))


def _state(episode: OpenEpisode | None, *, is_stale: bool) -> State:
    if episode is not None:
        return "critical" if episode.severity == "critical" else "warning"
    return "silent" if is_stale else "normal"


def _episode(known: KnownMachine) -> OpenEpisode | None:
    if known.episode_id is None or known.opened_at is None:
        return None
    return OpenEpisode(
        known.episode_id, known.severity or "", known.failure_type or "", known.opened_at, known.reasons or []
    )


def _last_seen(features: Mapping[str, str]) -> datetime | None:
    try:
        return datetime.fromisoformat(features["last_seen"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def _of_redis(features: Mapping[str, str]) -> FeatureValues:
    return FeatureValues(**{field.name: _number(features.get(field.name)) for field in fields(FeatureValues)})


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _of_reading(reading: StoredReading | None) -> FeatureValues:
    if reading is None:
        return FeatureValues()
    return FeatureValues(
        last_air_temp=reading.air_temp_k,
        last_process_temp=reading.process_temp_k,
        last_rpm=reading.rpm,
        last_torque=reading.torque_nm,
        last_tool_wear=reading.tool_wear_min,
    )
