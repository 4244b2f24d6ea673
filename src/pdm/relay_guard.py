"""Keeps the relay going: looks, decides (`relay_plan`), acts, and tells. Any number may run; one acts at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from pdm import crash
from pdm.config import Settings
from pdm.connect import SLOT, ConnectClient, ConnectorState, connector_config
from pdm.errors import Misconfigured, PdmError, Retryable
from pdm.relay_plan import UNREACHABLE, Action, Plan, Seen, decide, has_helped, next_wait
from pdm.store.pool import ANSWER_TIMEOUT_S, Connection, connect
from pdm.store.relay import drop_lost_slot, find_slot
from pdm.store.relay_care import begin_resend, end_resend, forget_action, note_action, read_note, try_care_lock

LOOK_EVERY_S = 3.0
FROZEN_AFTER_S = 60  # > the 20 s that a stop may take and an answer of Connect; then another guard takes over
DROP_TIMEOUT_S = 5.0
DROP_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class News:
    """Something to tell: an action that was begun (by this guard or another), or a change for worse or better."""

    trouble: str = ""  # empty: all is well again
    action: Action | str | None = None
    attempts: int = 0
    advice: str = ""
    is_own: bool = True

    def __str__(self) -> str:
        if self.action is not None:
            return f"relay: {self.action} (attempt {self.attempts}), because {self.trouble}"
        return f"relay: {'; '.join(part for part in (self.trouble, self.advice) if part) or 'runs again'}"


Report = Callable[[News], None]


class RelayGuard:
    """`patience_s`: how long it leaves trouble to the other guards before it acts itself."""

    def __init__(
        self,
        settings: Settings,
        report: Report,
        *,
        patience_s: float = 0.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._report = report
        self._patience_s = patience_s
        self._monotonic_s = monotonic_s
        self._told_trouble = ""
        self._trouble_since_s = 0.0
        self._acted_at_s: float | None = None
        self.seen: Seen | None = None
        self.plan = Plan()

    async def run(self) -> None:
        """For ever. What it cannot do now is told once, and tried again: ended unseen, it would guard nothing."""
        while True:
            try:
                await self.turn()
            except PdmError as error:
                self._tell_trouble(Plan(str(error), None, error.hint))
            except Exception as error:  # noqa: BLE001  # a mistake of ours
                self._tell_trouble(Plan(f"the guard failed with {type(error).__name__}: {error}"))
            await asyncio.sleep(LOOK_EVERY_S)

    async def turn(self) -> None:
        """One look and at most one action. Raises Retryable when the database or Connect is away."""
        try:
            async with ConnectClient(self._settings) as client, self._connected() as conn:
                is_alone = await asyncio.to_thread(try_care_lock, conn, FROZEN_AFTER_S)
                self.seen = seen = await self._look(client, conn)
                self.plan = plan = decide(seen)
                self._tell_what_others_did(seen)
                self._tell_trouble(plan)
                if is_alone and plan.action is not None and self._patience_is_over():
                    await self._act(client, conn, seen, plan.action)
                elif is_alone and has_helped(seen):
                    await asyncio.to_thread(forget_action, conn)
        except Misconfigured as error:  # a role must outlive it: a person may mend it meanwhile
            raise Retryable(str(error), hint=error.hint) from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """Its end frees the lock, whatever ends it."""
        with ExitStack() as stack:
            conninfo = self._settings.ai_db.conninfo("portal")
            opened = connect(conninfo, "pdm.relay_guard", answer_timeout_s=ANSWER_TIMEOUT_S)
            yield await asyncio.to_thread(stack.enter_context, opened)

    async def _look(self, client: ConnectClient, conn: Connection) -> Seen:
        try:
            state = await client.state()
        except PdmError as error:
            state = ConnectorState(UNREACHABLE, (), str(error))
        return await asyncio.to_thread(self._look_into_database, conn, state)

    def _look_into_database(self, conn: Connection, state: ConnectorState | None) -> Seen:
        can_create = self._settings.ai_db.password("cdc") is not None
        return Seen(state, find_slot(conn, SLOT), read_note(conn), can_create)

    async def _act(self, client: ConnectClient, conn: Connection, seen: Seen, action: Action) -> None:
        """The note comes first: it counts an attempt that kills this process too."""
        trouble = self.plan.trouble
        attempts, wait_s = next_wait(action, seen.note)
        await asyncio.to_thread(note_action, conn, action, trouble, attempts, wait_s)
        self._acted_at_s = self._monotonic_s()
        self._report(News(trouble, action, attempts))
        if action == "restart":
            await client.restart_failed()
        elif action == "create":
            await client.apply(connector_config(self._settings))
        else:
            await self._resend(client, conn, trouble)

    async def _resend(self, client: ConnectClient, conn: Connection, reason: str) -> None:
        """Every row of the outbox again, under the same ids. Cut short anywhere, it is done again from the start."""
        await asyncio.to_thread(begin_resend, conn, reason)
        await client.stop()
        crash.reached("relay.after_stop")
        await client.delete_offsets()
        crash.reached("relay.after_delete")
        await self._drop_slot_if_lost(conn)
        await client.resume()
        crash.reached("relay.after_resume")
        await asyncio.to_thread(end_resend, conn)

    async def _drop_slot_if_lost(self, conn: Connection) -> None:
        """A slot that still serves is kept: the snapshot sends what lies before it. Raises Retryable."""
        deadline_s = self._monotonic_s() + DROP_TIMEOUT_S
        while not await asyncio.to_thread(drop_lost_slot, conn, SLOT):
            slot = await asyncio.to_thread(find_slot, conn, SLOT)
            if slot is None or slot.wal_status != "lost":
                return
            if self._monotonic_s() > deadline_s:
                raise Retryable(f"the lost slot {SLOT} is still held by a connection")
            await asyncio.sleep(DROP_LOOK_S)

    def _patience_is_over(self) -> bool:
        return self._monotonic_s() - self._trouble_since_s >= self._patience_s

    def _tell_trouble(self, plan: Plan) -> None:
        """Once, not at each look."""
        if plan.trouble == self._told_trouble:
            return
        if not self._told_trouble:
            self._trouble_since_s = self._monotonic_s()
        self._told_trouble = plan.trouble
        if plan.action is None:  # what is done about it is told when it is done
            self._report(News(plan.trouble, advice=plan.advice))

    def _tell_what_others_did(self, seen: Seen) -> None:
        acted_at_s = self._monotonic_s() - seen.note.acted_ago_s
        known_s, self._acted_at_s = self._acted_at_s, acted_at_s
        if known_s is not None and acted_at_s > known_s + 1.0:  # both are guesses by some milliseconds
            self._report(News(seen.note.trouble or "", seen.note.action, seen.note.attempts, is_own=False))
