"""Wiring of the inference role."""

import asyncio

from pdm.broker import Subscription, make_broker, subscribe_batches
from pdm.config import RAW_TOPIC, Settings
from pdm.feature_store import FeatureStore
from pdm.gap_watch import GapWatch
from pdm.health import consumer_turns, consumer_works, database_answers, features_answer
from pdm.http import Checks, make_http_app
from pdm.inference.handler import Handler, utc_now
from pdm.inference.machine import Cadence
from pdm.inference.model_watch import ModelWatch
from pdm.inference.routes import Trainer, training_routes
from pdm.inference.scorer import Scorer
from pdm.runtime import MEASURE_S, Role, repeat
from pdm.store import models
from pdm.store.episodes import OUTBOX_KEEP_DAYS
from pdm.store.pool import Pool, in_slices, open_pool, transaction
from pdm.store.retention import prune_outbox

MODEL_POLL_S = 2.0
UPKEEP_S = 30.0


def build(settings: Settings) -> Role:
    pool = open_pool(settings.ai_db.conninfo("inference"), "pdm.inference")
    features = FeatureStore(settings.redis, "inference")
    scorer, trainer = Scorer(), Trainer()
    watch = ModelWatch(pool, scorer)
    cadence = Cadence.of(settings.inference.max_interval_s)
    handler = Handler(settings.kafka, pool, features, scorer, cadence, utc_now)
    gaps = GapWatch("inference", RAW_TOPIC, pool, handler.__call__, on_recreated=handler.forget)
    subscription = Subscription(
        "inference",
        gaps.__call__,
        on_assigned=handler.on_assigned,
        on_revoked=handler.on_revoked,
        on_committed=gaps.begin,
    )
    broker = make_broker(settings.kafka, "inference")
    subscribe_batches(broker, subscription, RAW_TOPIC, settings.kafka, max_records=settings.inference.max_records)
    ready = {
        "kafka": consumer_works(subscription),
        "ai database": database_answers(pool),
        "feature store": features_answer(features),
        "model": watch.health,
    }
    http = make_http_app("inference", settings.http, Checks({"consumer": consumer_turns(subscription)}, ready))
    http.include_router(training_routes(pool, trainer, watch))

    async def outbox_retention() -> None:
        await asyncio.to_thread(_prune_outbox, pool)

    async def close() -> None:
        await trainer.stop()
        await features.close()
        await asyncio.to_thread(pool.close)

    return Role(
        name="inference",
        http=http,
        broker=broker,
        background={
            "measure": lambda: repeat("inference", "measure", MEASURE_S, subscription.measure),
            "log place": lambda: repeat("inference", "log place", MEASURE_S, gaps.save),
            "model watch": lambda: repeat("inference", "model watch", MODEL_POLL_S, watch.look),
            "upkeep": lambda: repeat("inference", "upkeep", UPKEEP_S, lambda: asyncio.to_thread(_upkeep, pool)),
            "outbox retention": lambda: repeat("inference", "outbox retention", UPKEEP_S, outbox_retention),
        },
        close=close,
    )


def _upkeep(pool: Pool) -> None:
    with transaction(pool) as conn:  # by itself: while it looks, no training can start
        models.fail_abandoned_jobs(conn)


def _prune_outbox(pool: Pool) -> None:
    now = utc_now()
    in_slices(pool, lambda conn, size: prune_outbox(conn, now, OUTBOX_KEEP_DAYS, size))
