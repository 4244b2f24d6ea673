"""How a machine is operated: the profiles of the simulator, as plain data. Pure; no state, no randomness.

`normal` violates no rule, whatever the draw: the machine clips every deviation at four standard deviations, and its
bands leave that much room (heat: 9.6 − 2 × 0.4 K; power: 52 Nm × 1,640 rpm = 8.9 kW; strain: 52 Nm × 190 min).
"""

from dataclasses import dataclass
from typing import Literal

from pdm import physics

ProfileName = Literal["normal", "ai4i", "overstrain", "heat_dissipation", "power", "tool_wear"]


@dataclass(frozen=True, slots=True)
class TorqueLaw:
    """Normal with `mean_nm` and `sd_nm`, drawn once a product, drawn again until inside the bounds."""

    mean_nm: float
    sd_nm: float
    lowest_nm: float
    highest_nm: float = float("inf")


@dataclass(frozen=True, slots=True)
class Profile:
    """`change_tool_at_min` None: tools end by the AI4I hazard. `delta_t_band_k` None: the AI4I walk, unbounded."""

    name: ProfileName
    torque: TorqueLaw
    is_fault: bool
    delta_t_band_k: tuple[float, float] | None = (9.6, 11.0)
    wear_factor: float = 1.0  # minutes of wear a minute of work, up to `fast_wear_until_min`
    fast_wear_until_min: float = float("inf")
    change_tool_at_min: float | None = 190.0


PROFILES: dict[ProfileName, Profile] = {
    profile.name: profile
    for profile in (
        Profile("normal", TorqueLaw(40.0, 5.0, 30.0, 50.0), is_fault=False),
        Profile(
            "ai4i",
            TorqueLaw(physics.TORQUE_MEAN_NM, physics.TORQUE_SD_NM, physics.TORQUE_MIN_NM),
            is_fault=False,
            delta_t_band_k=None,
            change_tool_at_min=None,
        ),
        Profile(
            "overstrain",
            TorqueLaw(80.0, 5.0, 70.0, 90.0),
            is_fault=True,
            wear_factor=10.0,
            change_tool_at_min=physics.LONGEST_TOOL_LIFE_MIN,
        ),
        Profile(
            "heat_dissipation",
            TorqueLaw(57.0, 1.5, 54.0, 60.0),
            is_fault=True,
            delta_t_band_k=(7.0, 8.3),
            change_tool_at_min=175.0,  # 175 min × 62 Nm stays below the lowest strain limit
        ),
        Profile("power", TorqueLaw(10.0, 1.0, 8.0, 12.0), is_fault=True),
        Profile(
            "tool_wear",
            TorqueLaw(35.0, 2.5, 30.0, 40.0),
            is_fault=True,
            wear_factor=60.0,  # a new tool is at the end of its life after four minutes, and stays there for seven
            fast_wear_until_min=physics.LONGEST_TOOL_LIFE_MIN,
            change_tool_at_min=260.0,  # 260 min × 42 Nm stays below the lowest strain limit
        ),
    )
}
