"""What is done about the relay: mended, left to the person who stopped it, or waited for."""

import pytest

from pdm.connect import ConnectorState
from pdm.relay_plan import FORGET_S, SETTLED_S, UNREACHABLE, Action, Seen, decide, has_helped, next_wait
from pdm.store.relay import Slot
from pdm.store.relay_care import CareNote

RUNS = ConnectorState("RUNNING", ("RUNNING",))
FAILED = ConnectorState("RUNNING", ("FAILED",), "password authentication failed")
PAUSED = ConnectorState("PAUSED", ("PAUSED",))
STOPPED = ConnectorState("STOPPED", ())
WELL = Slot(is_active=True, wal_status="reserved", behind_bytes=0)
LOST = Slot(is_active=False, wal_status="lost", behind_bytes=10)
NEW = CareNote()


def test_nothing_is_done_while_it_runs_or_only_starts() -> None:
    for state in (RUNS, ConnectorState("RUNNING", ()), ConnectorState("UNASSIGNED", ())):
        for slot in (WELL, None):
            assert decide(Seen(state, slot, NEW)).trouble == ""


@pytest.mark.parametrize(
    ("state", "slot", "action"),
    [(FAILED, WELL, "restart"), (FAILED, None, "restart"), (FAILED, LOST, "resend"), (RUNS, LOST, "resend")],
)
def test_what_is_mended(state: ConnectorState, slot: Slot | None, action: Action) -> None:
    plan = decide(Seen(state, slot, NEW))
    assert plan.action == action
    assert plan.trouble


def test_a_failure_is_named() -> None:
    assert "password authentication failed" in decide(Seen(FAILED, WELL, NEW)).trouble


@pytest.mark.parametrize("state", [PAUSED, STOPPED])
@pytest.mark.parametrize("slot", [WELL, LOST, None])
@pytest.mark.parametrize("reason", [None, "rows were skipped"])
def test_what_a_person_paused_or_stopped_is_left_and_told(
    state: ConnectorState, slot: Slot | None, reason: str | None
) -> None:
    plan = decide(Seen(state, slot, CareNote(resend_reason=reason)))
    assert plan.action is None
    assert state.state in plan.trouble
    assert "a person did that" in plan.advice


def test_our_own_stop_is_ended_by_whoever_looks_next() -> None:
    note = CareNote("the slot is lost", is_stopped_by_us=True, action="resend", attempts=1, acted_ago_s=20)
    assert decide(Seen(STOPPED, None, note)).action == "resend"
    assert decide(Seen(RUNS, WELL, note)).action == "resend"
    assert decide(Seen(PAUSED, WELL, note)).action is None


def test_a_missing_connector_is_put_back_by_who_can() -> None:
    assert decide(Seen(None, WELL, NEW, can_create=True)).action == "create"
    told = decide(Seen(None, WELL, NEW))
    assert told.action is None
    assert "pdm setup" in told.advice


def test_without_connect_nothing_is_done_but_told() -> None:
    plan = decide(Seen(ConnectorState(UNREACHABLE, (), "Kafka Connect does not answer"), LOST, NEW))
    assert (plan.action, plan.trouble) == (None, "Kafka Connect does not answer")


def test_an_action_that_did_not_help_waits_and_another_does_not() -> None:
    note = CareNote(action="restart", attempts=3, acted_ago_s=1, wait_s=19)
    waiting = decide(Seen(FAILED, WELL, note))
    assert waiting.action is None
    assert "password" in waiting.trouble
    assert decide(Seen(FAILED, LOST, note)).action == "resend"


def test_waits_grow_to_a_bound_and_begin_anew_once_it_helped() -> None:
    waits, note = [], NEW
    for _ in range(20):
        attempts, wait_s = next_wait("restart", note)
        waits.append(wait_s)
        note = CareNote(action="restart", attempts=attempts, acted_ago_s=wait_s)
    assert waits[:5] == [5, 10, 20, 40, 60]
    assert set(waits[5:]) == {60}
    assert next_wait("resend", note)[0] == 1
    assert next_wait("restart", CareNote(action="restart", attempts=9, acted_ago_s=FORGET_S + 1))[0] == 1


def test_it_has_helped_once_it_runs_for_a_while() -> None:
    then = CareNote(action="restart", attempts=2, acted_ago_s=SETTLED_S + 1)
    assert has_helped(Seen(RUNS, WELL, then))
    assert not has_helped(Seen(FAILED, WELL, then))
    assert not has_helped(Seen(RUNS, LOST, then))
    assert not has_helped(Seen(RUNS, WELL, CareNote(action="restart", attempts=2, acted_ago_s=1)))
    assert not has_helped(Seen(RUNS, WELL, NEW))
