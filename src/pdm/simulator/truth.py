"""Ground truth: what was injected, and when a limit was first truly violated. Pure; sensors play no part in it.

An injection is the whole time of a fault profile. In `ai4i`, where failures happen by themselves, it is the rest of a
product from its first violation on.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

from pdm import physics
from pdm.events import FailureType, GroundTruth
from pdm.simulator.machine import OperatingPoint
from pdm.simulator.profiles import Profile


def violated_modes(point: OperatingPoint) -> tuple[FailureType, ...]:
    """The modes whose limit the machine truly violates: strain's is AI4I's own or the plant's on torque."""
    strain = physics.strain_min_nm(point.tool_wear_min, point.torque_nm)
    is_violated: dict[FailureType, bool] = {
        "Overstrain": physics.overstrains(strain, physics.strain_limit_min_nm(point.product_type))
        or point.torque_nm >= physics.MEAN_TORQUE_LIMIT_NM,
        "HeatDissipation": physics.overheats(point.delta_t_k, point.rpm),
        "Power": physics.leaves_power_band(physics.power_w(point.torque_nm, point.rpm)),
        "ToolWear": point.has_tool_failed or point.tool_wear_min >= physics.LONGEST_TOOL_LIFE_MIN,
    }
    return tuple(mode for mode, is_so in is_violated.items() if is_so)


TruthEvent = Literal["started", "violated", "ended"]


@dataclass(slots=True)
class Injection:
    """One injected or natural fault while it lasts. `stretch` tells it from the one before and after."""

    stretch: tuple[str, int]
    injection_id: str
    profile: str
    violated: set[FailureType] = field(default_factory=set)


@dataclass(slots=True)
class Witness:
    """Follows one machine, reading by reading, and tells what belongs into the ground truth."""

    machine_id: str
    injection: Injection | None = None

    def see(self, profile: Profile, turn: int, point: OperatingPoint, timestamp: datetime) -> list[GroundTruth]:
        """`turn` counts the machine's changes of profile. Call it once a reading, in order."""
        modes = violated_modes(point)
        stretch = self._stretch(profile, turn, point, modes)
        told = []
        if self.injection is not None and self.injection.stretch != stretch:
            told += self.end(timestamp)
        if stretch is None:
            return told
        if self.injection is None:
            injection_id = uuid5(NAMESPACE_OID, f"{self.machine_id} {timestamp.isoformat()}")
            self.injection = Injection(stretch, str(injection_id), profile.name)
            told.append(self._tell(self.injection, "started", None, timestamp))
        new_modes = [mode for mode in modes if mode not in self.injection.violated]
        self.injection.violated.update(new_modes)
        return told + [self._tell(self.injection, "violated", mode, timestamp) for mode in new_modes]

    def end(self, timestamp: datetime) -> list[GroundTruth]:
        """The end of the injection that lasts, if one does."""
        ended, self.injection = self.injection, None
        return [] if ended is None else [self._tell(ended, "ended", None, timestamp)]

    def _stretch(
        self, profile: Profile, turn: int, point: OperatingPoint, modes: tuple[FailureType, ...]
    ) -> tuple[str, int] | None:
        if profile.is_fault:
            return "turn", turn
        product = ("product", point.product_number)
        goes_on = self.injection is not None and self.injection.stretch == product
        return product if profile.name == "ai4i" and (modes or goes_on) else None

    def _tell(
        self, injection: Injection, event: TruthEvent, mode: FailureType | None, timestamp: datetime
    ) -> GroundTruth:
        return GroundTruth(
            machine_id=self.machine_id,
            injection_id=injection.injection_id,
            profile=injection.profile,
            event=event,
            mode=mode,
            timestamp=timestamp,
        )
