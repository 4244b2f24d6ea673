"""The portal's own readiness checks. An absent Redis or a late relay is told, but does not make it unready:

taking the portal out of service would mend neither, and it still shows what the databases hold.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pdm import metrics
from pdm.broker import Subscription
from pdm.config import ConnectSettings
from pdm.errors import PdmError
from pdm.feature_store import FeatureStore
from pdm.health import consumer_turns, consumer_works, database_answers, features_answer
from pdm.http import Check, Checks, Health
from pdm.store.pool import Pool


@dataclass(slots=True)
class RelayProbe:
    """The age of the newest heartbeat row that came through the relay; counted from the start until the first one."""

    late_after_s: float
    _newest_s: float = field(default_factory=time.time)
    _has_come: bool = False

    def take(self, payload: bytes | None) -> None:
        """`payload` is PostgreSQL's text of the time at which the row was written; anything else is passed over."""
        try:
            written = datetime.fromisoformat((payload or b"").decode())
        except ValueError:
            return
        if written.tzinfo is not None:
            self._newest_s = max(self._newest_s, written.timestamp()) if self._has_come else written.timestamp()
            self._has_come = True

    def age_s(self) -> float:
        return max(0.0, time.time() - self._newest_s)

    def newest(self) -> datetime | None:
        """When the newest row that came through was written; None before the first one."""
        return datetime.fromtimestamp(self._newest_s, UTC) if self._has_come else None

    def told(self) -> str:
        what = "the newest probe is" if self._has_come else "no probe has come since the start,"
        word = "late: " if self.age_s() > self.late_after_s else ""
        return f"{word}{what} {self.age_s():.1f} s old"


def make_relay_probe(settings: ConnectSettings) -> RelayProbe:
    probe = RelayProbe(late_after_s=3 * settings.heartbeat_s + 5)
    metrics.PROBE_AGE.set_function(probe.age_s)
    return probe


def make_checks(
    subscription: Subscription, relay: Check, features: FeatureStore, databases: Mapping[str, Pool]
) -> Checks:
    return Checks(
        live={"consumer": consumer_turns(subscription)},
        ready={
            "kafka": _works_or_stands_by(subscription),
            **{name: database_answers(pool) for name, pool in databases.items()},
            "feature store": _only_told(features_answer(features)),
            "relay": relay,
        },
    )


def _works_or_stands_by(subscription: Subscription) -> Check:
    """A replica beyond the number of partitions gets none, and serves requests all the same."""
    works = consumer_works(subscription)

    async def check() -> Health:
        if subscription.has_joined and not subscription.assigned:
            return Health(True, "stands by: the other replicas hold every partition")
        return await works()

    return check


def _only_told(ask: Check) -> Check:
    async def check() -> Health:
        try:
            return await ask()
        except PdmError as error:
            return Health(True, f"away, values come from sensor_log: {error}")

    return check
