"""One lane of the fault suite: engines, roles, machines that send, and the judgement after each fault."""

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pdm.audit import Finding, Scope, audit
from pdm.config import ALERT_TOPIC, RAW_TOPIC, RoleName, Settings
from pdm.errors import PdmError
from pdm.local.probes import connect_answers, kafka_answers, postgres_answers, valkey_answers
from pdm.store.pool import connect
from pdm.topics import group_lag
from tests.faults.engines import LINKS, Client, Engine, Engines, running_engines
from tests.faults.offsets import OffsetWatch
from tests.faults.proxy import CLEAR, Loop, Weather
from tests.faults.roles import CONSUMERS, Role, make_role, wait_until
from tests.faults.sender import Sender, Twist, make_machines, straight
from tests.faults.told import count_told
from tests.faults.traces import TraceWatch

MACHINES = 16
RATE_HZ = 10.0
WARM_S = 3.0
RECOVERY_S = 30.0  # beyond twice the outage


@dataclass
class Run:
    """One fault in progress: its machines, and what the fault tells about itself."""

    prefix: str
    rng: random.Random
    sender: Sender
    began_at: datetime
    offsets: OffsetWatch
    lives_before: dict[RoleName, int]
    traces: TraceWatch
    outage_s: float = 0.0
    findings: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """What happens inside counts as outage: recovery may take twice as long, and 30 s."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.outage_s += time.monotonic() - began

    def require(self, is_so: object, otherwise: str) -> None:
        if not is_so:
            self.findings.append(otherwise)


class Rig:
    """`with Rig(folder) as rig:` has engines and consumers up inside. `has_links` False: no proxy between them."""

    def __init__(self, folder: Path, seed: int = 0, *, has_links: bool = True) -> None:
        self._folder = folder
        self._seed = seed
        self._links = LINKS if has_links else ()
        self._open = ExitStack()
        self.loop = Loop()
        self.roles: dict[RoleName, Role] = {}
        self.spare: list[Role] = []

    def __enter__(self) -> "Rig":
        self._open.callback(self.loop.close)
        try:
            rng = random.Random(self._seed)
            self.engines: Engines = self._open.enter_context(running_engines(self._folder, self.loop, rng, self._links))
            for name in CONSUMERS:
                self.add_role(name)
            self._open.callback(self._end_roles)
            for role in self.roles.values():
                role.wait_ready()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def settings(self) -> Settings:
        return self.engines.settings

    def add_role(self, name: RoleName) -> Role:
        """The usual process of a role, for as long as the rig lives."""
        role = self.roles[name] = make_role(self.engines, name, 1)
        role.start(self.engines.stack)
        return role

    def add_replica(self, name: RoleName, *, log: Path | None = None, **environment: str) -> Role:
        """One more process of a role; `heal` ends it."""
        role = make_role(self.engines, name, 2 + len(self.spare), **environment)
        role.log = log or role.log
        self.spare.append(role)
        role.start(self.engines.stack)
        return role

    def set_link(self, client: Client, engine: Engine, weather: Weather) -> None:
        self.engines.links[client, engine].set(weather)

    def set_links(self, engine: Engine, weather: Weather) -> None:
        """Every link to that engine."""
        for (_, target), proxy in self.engines.links.items():
            if target == engine:
                proxy.set(weather)

    def reset_links(self, engine: Engine) -> int:
        """Cut what is connected to that engine; returns how many sockets."""
        return sum(proxy.reset() for (_, target), proxy in self.engines.links.items() if target == engine)

    def run(
        self,
        name: str,
        seed: int,
        act: Callable[["Rig", Run], None],
        *,
        machines: int = MACHINES,
        rate_hz: float = RATE_HZ,
        twist_for: Callable[[random.Random], Twist] = lambda _: straight,
        clock_offset: timedelta = timedelta(0),
        has_truth: bool = True,
    ) -> Run:
        """Machines send, the fault acts, everything settles, the checker judges. The findings stand in the result."""
        rng = random.Random(f"{name} {seed}")
        prefix = f"{re.sub('[^A-Za-z0-9]+', '-', name)[:50]}-{seed}-"
        sender = Sender(
            self.engines.proxied("sender").kafka.bootstrap_servers,
            make_machines(prefix, machines, rng),
            rate_hz,
            lambda machine: twist_for(machine.rng),
            clock_offset,
        )
        lives = {role: len(self.roles[role].lives) for role in self.roles}
        run = Run(
            prefix=prefix,
            rng=rng,
            sender=sender,
            began_at=datetime.now(UTC) - timedelta(seconds=1),
            offsets=OffsetWatch(self.settings),
            lives_before=lives,
            traces=TraceWatch(self.engines.stack.folder.logs),
        )
        self.loop.run(run.offsets.start())
        try:
            self.loop.run(sender.start(), 30)
            time.sleep(WARM_S)
            act(self, run)
            self.heal()
            healed = time.monotonic()
            self.loop.run(sender.finish(), 90)
            self._settle(run, healed)
        except (TimeoutError, PdmError) as error:
            run.findings.append(f"R: {error or type(error).__name__}")
            self.heal()
        finally:
            self.loop.run(sender.close())
            self.loop.run(run.offsets.stop())
        try:
            self._judge(run, has_truth=has_truth)
        except PdmError as error:
            run.findings.append(f"R: cannot be judged: {error}")
        return run

    def heal(self) -> None:
        """Links clear, nobody paused, replicas gone, the usual roles with their usual environment."""
        for proxy in self.engines.links.values():
            if proxy.weather != CLEAR:
                proxy.set(CLEAR)
        for role in self.spare:
            role.end()
        self.spare.clear()

    def wait_ready(self) -> None:
        for role in self.roles.values():
            role.wait_ready()

    def answers(self, engine: Engine) -> bool:
        """As it does to its supervisor."""
        probes = {
            "kafka": kafka_answers,
            "connect": connect_answers,
            "postgres-main": postgres_answers,
            "postgres-ai": postgres_answers,
            "valkey": valkey_answers,
        }
        return probes[engine](self.engines.stack.place.ports[engine])

    def wait_engine(self, engine: Engine, timeout_s: float = 60.0) -> None:
        wait_until(lambda: self.answers(engine), timeout_s, f"{engine} answers")

    def lags(self) -> dict[RoleName, int]:
        """Records that each of the three groups has not committed yet; raises PdmError while Kafka is away."""
        topics: dict[RoleName, str] = {"ingestor": RAW_TOPIC, "inference": RAW_TOPIC, "portal": ALERT_TOPIC}

        async def ask() -> dict[RoleName, int]:
            kafka = self.settings.kafka
            return {role: await group_lag(kafka, f"pdm.{role}", topic) or 0 for role, topic in topics.items()}

        return asyncio.run(ask())

    def lag(self) -> int:
        return sum(self.lags().values())

    def ask(self, database: str, query: str, *values: object) -> list[tuple[Any, ...]]:
        block = self.settings.main_db if database == "main" else self.settings.ai_db
        with connect(block.conninfo("owner"), "pdm.faults") as conn:
            return conn.execute(query.encode(), values).fetchall()

    def _settle(self, run: Run, healed: float) -> None:
        """R: everything that was sent is handled and told within twice the outage and 30 s, without a hand."""
        bound_s = 2 * run.outage_s + RECOVERY_S
        try:
            wait_until(lambda: not self._unsettled(run.prefix), bound_s, "all settled")
        except TimeoutError:
            raise TimeoutError(f"after {bound_s:.0f} s: {self._unsettled(run.prefix)}") from None
        run.figures["recovered_s"] = round(time.monotonic() - healed, 1)

    def _unsettled(self, prefix: str) -> str:
        """What is still on its way, in words; empty: nothing."""
        try:
            waiting: dict[str, int] = {f"lag of {role}": lag for role, lag in self.lags().items()}
            ((events, messages),) = self.ask("ai", _UNSETTLED, prefix, prefix)
        except PdmError as error:
            return str(error)
        waiting |= {"events not in the inbox": events, "messages not sent": messages}
        return ", ".join(f"{what} {count}" for what, count in waiting.items() if count)

    def _judge(self, run: Run, *, has_truth: bool) -> None:
        scope = Scope(prefix=run.prefix, since=run.began_at)
        found = asyncio.run(
            audit(
                self.settings,
                scope,
                ledger=run.sender.ledger,
                truth=run.sender.troubles if has_truth else None,
            )
        )
        run.findings += map(told_as, found.findings)
        run.findings += run.offsets.complaints
        run.findings += run.traces.unexpected()
        kills = len(self.roles["portal"].lives) - run.lives_before["portal"]
        repeats = count_told(self.roles["portal"].log.parent, run.prefix)
        run.require(repeats <= kills, f"A: {repeats} log lines told twice, with {kills} restarts of the portal")
        run.figures |= {
            **found.counts,
            "acknowledged": len(run.sender.ledger),
            "troubles": len(run.sender.troubles),
            "outage_s": round(run.outage_s, 1),
        }

    def _end_roles(self) -> None:
        for role in [*self.spare, *self.roles.values()]:
            role.end()


def told_as(finding: Finding) -> str:
    where = " ".join(str(part) for part in (finding.machine_id, finding.at) if part)
    return f"{finding.check}: {finding.what}" + (f" ({where})" if where else "")


_UNSETTLED = """
    SELECT (SELECT count(*) FROM outbox o WHERE o.topic_name = 'anomaly-alerts' AND starts_with(o.msg_key, %s)
            AND NOT EXISTS (SELECT FROM portal.inbox i WHERE i.event_id = o.id)),
        (SELECT count(*) FROM portal.notification n JOIN portal.alert a USING (episode_id)
            WHERE n.state = 'pending' AND starts_with(a.machine_id, %s))
"""
