"""Wiring of the portal role."""

import asyncio
from datetime import UTC, datetime, timedelta

from pdm.broker import Subscription, make_broker, subscribe_batches, subscribe_from_now
from pdm.config import ALERT_TOPIC, PROBE_TOPIC, Settings, consumer_group
from pdm.feature_store import FeatureStore
from pdm.gap_watch import GapWatch
from pdm.http import make_http_app
from pdm.portal.alert_routes import alert_routes
from pdm.portal.channels import CHANNELS
from pdm.portal.event_routes import event_routes
from pdm.portal.feed import Feed
from pdm.portal.fleet import Fleet
from pdm.portal.handler import AlertHandler
from pdm.portal.health import make_checks, make_relay_probe
from pdm.portal.live import LiveValues
from pdm.portal.machine_routes import machine_routes
from pdm.portal.notifier import Notifier
from pdm.portal.pages import SecurityHeaders, Static, page_routes
from pdm.portal.relay_watch import RelayProof, RelayWatch, report
from pdm.portal.status import stale_after_s
from pdm.relay_guard import LOOK_EVERY_S, RelayGuard
from pdm.runtime import MEASURE_S, Role, repeat
from pdm.store.event_log import prune_event_log
from pdm.store.inbox import prune_inbox
from pdm.store.notifications import prune_notifications
from pdm.store.pool import Pool, open_pool, transaction
from pdm.topics import has_handled_all

MAX_RECORDS = 500
READ_TIMEOUT_MS = 5_000  # a person waits for it
EVENT_LOG_KEEP = timedelta(hours=24)
NOTIFICATION_KEEP = timedelta(days=90)
INBOX_KEEP = timedelta(days=21)  # > the topic's 14 days and the outbox's 7, either of which may be read again
UPKEEP_S = 600.0
PROVE_EVERY_S = 5.0


def build(settings: Settings) -> Role:
    writes = open_pool(settings.ai_db.conninfo("portal"), "pdm.portal")
    ai = open_pool(
        settings.ai_db.conninfo("portal"), "pdm.portal.reads", max_size=8, statement_timeout_ms=READ_TIMEOUT_MS
    )
    main = open_pool(
        settings.main_db.conninfo("portal"), "pdm.portal.reads", max_size=8, statement_timeout_ms=READ_TIMEOUT_MS
    )
    features = FeatureStore(settings.redis, "portal")
    notifier = Notifier(writes, CHANNELS, settings.portal.locale, _now)
    fleet = Fleet(ai, main, features, stale_after_s(settings.inference.max_interval_s), _now)
    feed = Feed(ai)
    live = LiveValues(fleet, feed, _now)

    def on_committed() -> None:
        for task in (notifier, feed, live):
            task.wake()

    handler = AlertHandler(writes, tuple(CHANNELS), on_committed)

    broker = make_broker(settings.kafka, "portal")
    gaps = GapWatch("portal", ALERT_TOPIC, writes, handler.__call__)
    subscription = Subscription("portal", gaps.__call__, on_committed=gaps.begin)
    subscribe_batches(broker, subscription, ALERT_TOPIC, settings.kafka, max_records=MAX_RECORDS)
    probe = make_relay_probe(settings.connect)
    subscribe_from_now(broker, PROBE_TOPIC, lambda record: probe.take(record.value))

    watch = RelayWatch(RelayGuard(settings, report), probe)
    group = consumer_group("portal")
    proof = RelayProof(writes, probe.newest, lambda: has_handled_all(settings.kafka, group, ALERT_TOPIC), _now)
    checks = make_checks(subscription, watch.check, features, {"ai database": ai, "main database": main})
    http = make_http_app("portal", settings.http, checks)
    http.include_router(machine_routes(fleet, main))
    http.include_router(alert_routes(ai))
    http.include_router(event_routes(feed, settings.kafka))
    http.include_router(page_routes(fleet, ai, settings.portal.locale))
    http.mount("/static", Static())
    http.add_middleware(SecurityHeaders)

    async def close() -> None:
        await features.close()
        for pool in (writes, ai, main):
            await asyncio.to_thread(pool.close)

    return Role(
        name="portal",
        http=http,
        broker=broker,
        background={
            "measure": lambda: repeat("portal", "measure", MEASURE_S, subscription.measure),
            "log place": lambda: repeat("portal", "log place", MEASURE_S, gaps.save),
            "notifier": lambda: repeat("portal", "notifier", 0, notifier.turn),
            "feed": feed.run,
            "live values": lambda: repeat("portal", "live values", 0, live.turn),
            "relay guard": lambda: repeat("portal", "relay guard", LOOK_EVERY_S, watch.turn),
            "relay proof": lambda: repeat("portal", "relay proof", PROVE_EVERY_S, proof.turn),
            "upkeep": lambda: repeat("portal", "upkeep", UPKEEP_S, lambda: asyncio.to_thread(_upkeep, writes)),
        },
        close=close,
    )


def _upkeep(pool: Pool) -> None:
    with transaction(pool) as conn:
        prune_event_log(conn, EVENT_LOG_KEEP)
        prune_inbox(conn, INBOX_KEEP)
        prune_notifications(conn, NOTIFICATION_KEEP)


def _now() -> datetime:
    return datetime.now(UTC)
