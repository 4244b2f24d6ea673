"""A few machines of the simulator role, ordered through its HTTP API as an operator would: a kill forgets them."""

from collections.abc import Sequence

import httpx

from tests.faults.proxy import HOST
from tests.faults.rig import Rig
from tests.faults.roles import Role

RATE_HZ = 5.0
PROFILES = ("normal", "overstrain", "heat_dissipation")


class Simulated:
    """`keep_ordered` now and then: it gives the orders again to each life of the role, once that is ready."""

    def __init__(self, rig: Rig, prefix: str, profiles: Sequence[str] = PROFILES) -> None:
        self.role: Role = rig.add_role("simulator")
        self._prefix = prefix
        self._profiles = profiles
        self._ordered_pid: int | None = None
        self.times_ordered = 0

    def keep_ordered(self) -> None:
        if not self.role.lives or self._ordered_pid == self.role.pid:
            return
        pid = self.role.pid
        asks = [
            {"machine_id": f"{self._prefix}{profile.replace('_', '-')}", "profile": profile, "rate_hz": RATE_HZ}
            for profile in self._profiles
        ]
        if self._ask("POST", asks):
            self._ordered_pid = pid
            self.times_ordered += 1

    def stop(self) -> bool:
        """False while the role does not answer."""
        return self._ask("DELETE")

    def _ask(self, method: str, body: object = None) -> bool:
        url = f"http://{HOST}:{self.role.port}/simulations"
        try:
            return httpx.request(method, url, json=body, timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False
