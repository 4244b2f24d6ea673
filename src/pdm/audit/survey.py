"""The order of the audit's looks. Each reads first how far things are due, then what is there, never the other way.

So a running system's lag and events under way are no findings. What alerts and features lack is looked for once more
before it is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from uuid import UUID

from pdm.audit import features
from pdm.audit.alerts import (
    CLOCKS_DIFFER,
    OnTopic,
    check_chain,
    check_truth,
    episodes_since,
    tell_unknown,
    unknown_records,
)
from pdm.audit.findings import Audit, Scope, Sent, Tally, Trouble
from pdm.audit.log_look import LogLook
from pdm.config import ALERT_TOPIC, RAW_TOPIC, Settings, consumer_group
from pdm.feature_store import FeatureStore
from pdm.inference.machine import Cadence
from pdm.store import audit_alerts, audit_readings
from pdm.store.history import newest_readings
from pdm.store.pool import Connection, connect
from pdm.topics import committed_offsets, log_spans, read_span

RELOOK_S = 6.0  # > alerts.SETTLED_AFTER
READ_AT_ONCE = 500  # machines a command to Redis
EVERYTHING = Scope()

OnProgress = Callable[[str, int], None]
Look = Callable[[Tally], Awaitable[dict[str, int]]]


def _silent(_stage: str, _count: int) -> None:
    pass


async def audit(
    settings: Settings,
    scope: Scope = EVERYTHING,
    *,
    ledger: Sequence[Sent] | None = None,
    truth: Sequence[Trouble] | None = None,
    on_progress: OnProgress = _silent,
) -> Audit:
    """`ledger`: every acknowledged send of the scope; `truth`: every true fault of it. Without them, the log decides.

    `on_progress` is told a stage and how many records or rows of it are done. Raises Retryable when an engine is away.
    """
    tally = Tally()
    with ExitStack() as databases:
        main = databases.enter_context(connect(settings.main_db.conninfo("owner"), "pdm.audit"))
        ai = databases.enter_context(connect(settings.ai_db.conninfo("owner"), "pdm.audit"))
        for conn in (main, ai):
            audit_readings.forbid_writes(conn)
        counts = await LogLook(settings, main, scope, ledger, tally, on_progress).run()
        chain = _ChainLook(settings, ai, scope, truth, on_progress)
        shown = _FeatureLook(settings, main, ai, scope, on_progress)
        for look in (chain.run, shown.run):
            counts |= await _twice(look, tally)
    return Audit(tally.findings(), counts)


async def _twice(look: Look, tally: Tally) -> dict[str, int]:
    """A second look only where the first found something; what both found counts."""
    first = Tally()
    counts = await look(first)
    if first.kinds:
        await asyncio.sleep(RELOOK_S)
        second = Tally()
        await look(second)
        tally.add_those_of_both(first, second)
    return counts


class _ChainLook:
    def __init__(
        self,
        settings: Settings,
        ai: Connection,
        scope: Scope,
        truth: Sequence[Trouble] | None,
        on_progress: OnProgress,
    ) -> None:
        self._settings, self._ai, self._scope, self._truth = settings, ai, scope, truth
        self._on_progress = on_progress

    async def run(self, tally: Tally) -> dict[str, int]:
        scope = self._scope
        chain = await asyncio.to_thread(audit_alerts.read_chain, self._ai, scope.prefix)
        self._on_progress("alerts", len(chain.outbox))
        records = await self._records()
        counts = check_chain(chain, records, scope, tally)
        if self._truth is not None:
            check_truth(episodes_since(chain, scope.since), self._truth, tally)
        unknown = list(unknown_records(records, chain, scope))
        ids = [event_id for event_id, _ in unknown if event_id is not None]
        newer = await asyncio.to_thread(audit_alerts.ids_in_outbox, self._ai, ids) if ids else set()
        for event_id, record in unknown:
            if event_id not in newer:
                tell_unknown(record, tally)
        return counts

    async def _records(self) -> list[OnTopic]:
        """Those of the scope on the alert topic, whatever they are."""
        kafka, prefix = self._settings.kafka, self._scope.prefix.encode()
        since = self._scope.since - CLOCKS_DIFFER if self._scope.since else None
        found: list[OnTopic] = []
        for number, (begin, end) in (await log_spans(kafka, ALERT_TOPIC, since)).items():
            async for batch in read_span(kafka, ALERT_TOPIC, number, begin, end):
                found += [
                    OnTopic(_id_of(record.headers), record.key, record.value, features.from_ms(record.timestamp))
                    for record in batch
                    if (record.key or b"").startswith(prefix)
                ]
                self._on_progress("alert records", len(found))
        return found


class _FeatureLook:
    """Run it again to look further back in the log, at those machines only that the first run found wrong."""

    def __init__(
        self, settings: Settings, main: Connection, ai: Connection, scope: Scope, on_progress: OnProgress
    ) -> None:
        self._settings, self._main, self._ai, self._scope = settings, main, ai, scope
        self._on_progress = on_progress
        self._suspects: set[str] | None = None

    async def run(self, tally: Tally) -> dict[str, int]:
        kafka = self._settings.kafka
        judged = await committed_offsets(kafka, consumer_group("inference"), RAW_TOPIC)
        shown = await self._shown(tally)
        severities = await asyncio.to_thread(audit_alerts.open_severities, self._ai, self._scope.prefix)
        cadence = Cadence.of(self._settings.inference.max_interval_s)
        warm_ups = features.LOOKS[0 if self._suspects is None else 1]
        recomputed = features.recomputation(shown, judged, cadence, tally, warm_ups)
        if recomputed.shown:
            await self._read_log(recomputed)
        recomputed.settle(severities, tally)
        self._suspects = tally.machine_ids
        return {"machines": len(shown), "recomputed": recomputed.readings}

    async def _shown(self, tally: Tally) -> dict[str, dict[str, str]]:
        """The features of every machine of the scope that Redis knows; tells those that it should know."""
        prefix, since = self._scope.prefix, self._scope.since
        store = FeatureStore(self._settings.redis, "portal")
        try:
            seen_s = {name: at_s for name, at_s in (await store.machines()).items() if name.startswith(prefix)}
            wanted = sorted(
                name
                for name, at_s in seen_s.items()
                if (since is None or at_s >= since.timestamp()) and (self._suspects is None or name in self._suspects)
            )
            found: dict[str, dict[str, str]] = {}
            for start in range(0, len(wanted), READ_AT_ONCE):
                found |= await store.read_many(wanted[start : start + READ_AT_ONCE])
        finally:
            await store.close()
        judged = await asyncio.to_thread(audit_alerts.machines_judged, self._ai, prefix)
        absent = sorted(set(judged) - seen_s.keys())
        newest = await asyncio.to_thread(newest_readings, self._main, absent)
        for machine_id, row in newest.items():
            if since is None or row.timestamp >= since:
                tally.add("F", "a machine has no features in Redis", machine_id)
        return found

    async def _read_log(self, recomputed: features.Recomputation) -> None:
        kafka = self._settings.kafka
        start = features.from_ms(recomputed.start_ms) - timedelta(milliseconds=1)
        whole, spans = await log_spans(kafka, RAW_TOPIC), await log_spans(kafka, RAW_TOPIC, start)
        recomputed.cut = frozenset(
            number for number, (begin, _) in spans.items() if begin > 0 and begin <= whole[number][0]
        )
        done = 0
        for number, (begin, end) in spans.items():
            async for batch in read_span(kafka, RAW_TOPIC, number, begin, end):
                for record in batch:
                    recomputed.take(number, record.offset, record.timestamp, record.key, record.value)
                done += len(batch)
                self._on_progress("features", done)


def _id_of(headers: Sequence[tuple[str, bytes | None]]) -> UUID | None:
    ids = [value for name, value in headers if name == "id" and value is not None]
    try:
        return UUID(ids[-1].decode()) if ids else None
    except ValueError:
        return None
