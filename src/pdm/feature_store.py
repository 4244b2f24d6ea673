"""Real-time features in Redis, one string key each: `machine:<machine_id>:<feature>`.

Holds only what the log can rebuild: losing every key loses nothing, and nothing here decides.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pdm.config import RedisSettings, RoleName
from pdm.errors import Retryable

FEATURES = (
    "last_air_temp",
    "last_process_temp",
    "last_rpm",
    "last_torque",
    "last_tool_wear",
    "last_seen",
    "temp_1m_avg",
    "air_temp_1m_avg",
    "rpm_1m_avg",
    "torque_1m_avg",
    "power_1m_avg",
    "failure_probability",
    "anomaly_score",
    "state",
    "skew_s",
)
MACHINES_KEY = "machines"  # sorted set: machine id by append time of its newest reading, s

Features = Mapping[str, str | float | None]


class FeatureStore:
    """Reads and writes features. Every call raises Retryable when Redis is away or answers too late."""

    def __init__(self, settings: RedisSettings, role: RoleName, *, timeout_s: float = 2.0) -> None:
        self._redis = Redis.from_url(
            settings.url,
            password=settings.password.get_secret_value() if settings.password else None,
            client_name=f"pdm.{role}",
            decode_responses=True,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),  # the caller's next batch is the retry
        )

    async def write(self, machines: Mapping[str, Features], seen_at_s: Mapping[str, float]) -> None:
        """Set the given features of each machine in one command a machine; None removes the key."""
        with _as_retryable():
            async with self._redis.pipeline(transaction=False) as pipe:
                for machine_id, features in machines.items():
                    present = {
                        _key(machine_id, name): str(value) for name, value in features.items() if value is not None
                    }
                    absent = [_key(machine_id, name) for name, value in features.items() if value is None]
                    if present:
                        pipe.mset(present)
                    if absent:
                        pipe.delete(*absent)
                if seen_at_s:
                    pipe.zadd(MACHINES_KEY, dict(seen_at_s))
                await pipe.execute()

    async def read(self, machine_id: str) -> dict[str, str]:
        """The features that are there, as stored text."""
        return (await self.read_many([machine_id]))[machine_id]

    async def read_many(self, machine_ids: list[str]) -> dict[str, dict[str, str]]:
        if not machine_ids:
            return {}
        with _as_retryable():
            values: list[Any] = await self._redis.mget(
                [_key(machine_id, name) for machine_id in machine_ids for name in FEATURES]
            )
        rows = (values[start : start + len(FEATURES)] for start in range(0, len(values), len(FEATURES)))
        return {
            machine_id: {name: value for name, value in zip(FEATURES, row, strict=True) if value is not None}
            for machine_id, row in zip(machine_ids, rows, strict=True)
        }

    async def machines(self) -> dict[str, float]:
        """Every machine ever seen and not removed, with the append time (s) of its newest reading."""
        with _as_retryable():
            pairs: Any = await self._redis.zrange(MACHINES_KEY, 0, -1, withscores=True)
            return dict(pairs)

    async def remove(self, machine_id: str) -> None:
        with _as_retryable():
            await self._redis.delete(*(_key(machine_id, name) for name in FEATURES))
            await self._redis.zrem(MACHINES_KEY, machine_id)

    async def ping(self) -> None:
        with _as_retryable():
            await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()


def _key(machine_id: str, feature: str) -> str:
    return f"machine:{machine_id}:{feature}"


@contextmanager
def _as_retryable() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Retryable(f"Redis does not answer: {error}", hint="Is it running and PDM_REDIS__URL right?") from error
