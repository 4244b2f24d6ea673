"""The checks that several roles share. Each tells what it found in words with numbers; none changes anything."""

import asyncio
import time

from pdm.broker import Subscription
from pdm.feature_store import FeatureStore
from pdm.http import Check, Health
from pdm.store.pool import Pool, transaction

UNANSWERED_LIMIT_S = 10.0  # a fetch without news is answered within half a second


def consumer_turns(subscription: Subscription) -> Check:
    """Live: no batch has been in hand for longer than a minute."""

    async def check() -> Health:
        is_turning = subscription.is_turning()
        return Health(
            is_turning, "batches are handled" if is_turning else "one batch has been in hand for over a minute"
        )

    return check


def consumer_works(subscription: Subscription) -> Check:
    """Ready: partitions are assigned and Kafka answers. Tells the lag and the age of the newest record handled."""

    async def check() -> Health:
        lag = await subscription.lag_records()
        age_s = subscription.data_age_s()
        if not subscription.assigned:
            return Health(False, "Kafka has assigned no partition (is it up? has `pdm setup` made the topics?)")
        if (unanswered_s := subscription.unanswered_s()) > UNANSWERED_LIMIT_S:
            return Health(False, f"Kafka has not answered for {unanswered_s:.0f} s")
        newest = "no record handled yet" if age_s is None else f"newest record handled is {age_s:.1f} s old"
        return Health(True, f"{len(subscription.assigned)} partitions, lag {lag} records, {newest}")

    return check


def database_answers(pool: Pool) -> Check:
    async def check() -> Health:
        began = time.monotonic()
        await asyncio.to_thread(_ask, pool)
        return Health(True, f"answers in {1e3 * (time.monotonic() - began):.0f} ms")

    return check


def _ask(pool: Pool) -> None:
    with transaction(pool) as conn:
        conn.execute("SELECT 1")


def features_answer(store: FeatureStore) -> Check:
    async def check() -> Health:
        began = time.monotonic()
        await store.ping()
        return Health(True, f"answers in {1e3 * (time.monotonic() - began):.0f} ms")

    return check
