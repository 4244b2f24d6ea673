"""The relay from the outbox to Kafka, proved by a row that travels it. Owns no alert."""

import asyncio
import time

from pdm.config import PROBE_TOPIC, Settings
from pdm.errors import Retryable
from pdm.store.pool import connect
from pdm.store.relay import insert_probe
from pdm.topics import open_tail


async def send_probe(settings: Settings, timeout_s: float) -> float:
    """Seconds that a row inserted now took to its topic. Raises Retryable when it has not come within `timeout_s`."""
    async with open_tail(settings.kafka, PROBE_TOPIC) as consumer:
        probe_id = await asyncio.to_thread(_insert, settings)
        committed = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                async for record in consumer:
                    if ("id", probe_id.encode()) in record.headers:
                        return time.monotonic() - committed
        except TimeoutError:
            pass
    raise Retryable(
        f"a row put into the outbox has not come to {PROBE_TOPIC} within {timeout_s:.0f} s",
        hint="`pdm doctor` tells which part of the relay stands still.",
    )


def _insert(settings: Settings) -> str:
    with connect(settings.ai_db.conninfo("owner"), "pdm.probe") as conn:
        return insert_probe(conn)
