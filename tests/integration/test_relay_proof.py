"""The proof that the relay skipped no row: what counts as skipped, when nothing can be said, and whom it asks."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY
from tests.desk import Desk, episode

from pdm.portal.relay_watch import ASK_AGAIN_AFTER, RelayProof
from pdm.store.inbox import Incoming


@dataclass
class World:
    """What the proof is told of: the newest row that came through, and whether the portal has handled all."""

    desk: Desk
    now: datetime
    newest: datetime | None = None
    has_handled: bool = True

    def proof(self) -> RelayProof:
        async def has_handled_all() -> bool:
            return self.has_handled

        return RelayProof(self.desk.pool, lambda: self.newest, has_handled_all, lambda: self.now)

    def reason(self) -> str | None:
        ((reason,),) = self.desk.rows("SELECT resend_reason FROM portal.relay_care")
        assert reason is None or isinstance(reason, str)
        return reason


def unrelayed() -> float | None:
    return REGISTRY.get_sample_value("pdm_outbox_unrelayed")


def world_with(desk: Desk, events: list[Incoming]) -> World:
    """The rows are written; nothing has come through yet."""
    desk.detect(events)
    return World(desk, datetime.now(UTC))


async def prove(world: World, proof: RelayProof) -> None:
    """Looks, each followed by a probe that is written after it and comes through: the last verdict is of all rows."""
    for _ in range(2):
        await proof.turn()
        ((now,),) = world.desk.rows("SELECT clock_timestamp()")
        assert isinstance(now, datetime)
        world.newest = now
        await proof.turn()


def test_a_row_that_a_later_one_overtook_is_skipped_and_asked_for_once(desk: Desk) -> None:
    events = episode("opened", "cleared")
    world = world_with(desk, events)
    desk.take_in(events[1:])
    proof = world.proof()

    asyncio.run(prove(world, proof))
    assert unrelayed() == 1
    assert "1 rows" in (world.reason() or "")

    desk.rows("UPDATE portal.relay_care SET resend_reason = NULL RETURNING 1")
    asyncio.run(prove(world, proof))
    assert world.reason() is None, "a re-send that did not bring it is not repeated at once"

    world.now += ASK_AGAIN_AFTER
    asyncio.run(prove(world, proof))
    assert world.reason() is not None

    desk.take_in(events[:1])
    asyncio.run(prove(world, proof))
    assert unrelayed() == 0


def test_nothing_is_said_of_rows_still_on_their_way(desk: Desk) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    world = world_with(desk, episode("opened"))
    proof = world.proof()

    for newest in (None, before):  # no probe, or one written before the row was seen
        world.newest = newest
        asyncio.run(proof.turn())
        asyncio.run(proof.turn())
    world.has_handled = False
    asyncio.run(prove(world, proof))
    assert world.reason() is None

    world.has_handled = True
    asyncio.run(proof.turn())
    assert world.reason() is not None


def test_a_row_whose_transaction_began_before_the_last_proof_is_seen(desk: Desk) -> None:
    world = World(desk, datetime.now(UTC))
    proof = world.proof()
    asyncio.run(prove(world, proof))

    desk.rows(
        "INSERT INTO outbox (topic_name, msg_key, message_payload, created_at) "
        "VALUES ('anomaly-alerts', 'machine-001', '{}', now() - interval '40 seconds') RETURNING id"
    )
    asyncio.run(prove(world, proof))

    assert world.reason() is not None


def test_a_new_skip_is_asked_for_although_an_old_one_waits(desk: Desk) -> None:
    world = world_with(desk, episode("opened"))
    proof = world.proof()
    asyncio.run(prove(world, proof))
    desk.rows("UPDATE portal.relay_care SET resend_reason = NULL RETURNING 1")

    desk.detect(episode("opened", machine_id="machine-002"))
    asyncio.run(prove(world, proof))

    assert "2 rows" in (world.reason() or "")
