"""What to do about the relay, from what is seen of it. Pure: looks at nothing, does nothing."""

from dataclasses import dataclass
from typing import Literal

from pdm.connect import ConnectorState
from pdm.store.relay import Slot
from pdm.store.relay_care import CareNote

Action = Literal["restart", "resend", "create"]

UNREACHABLE = "UNREACHABLE"  # our own word for a connector whose Connect does not answer

SETTLED_S = 10.0  # a connector that still runs this long after an action is mended, one that flaps is not
FORGET_S = 300.0  # an action repeated within this time did not help before: it waits longer each time
_FIRST_WAIT_S: dict[Action, float] = {"restart": 5.0, "create": 5.0, "resend": 15.0}  # more than each needs to help
_LONGEST_WAIT_S: dict[Action, float] = {"restart": 60.0, "create": 60.0, "resend": 240.0}  # < FORGET_S


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. No connector or no slot: there is none. `can_create`: this process has the relay's password."""

    connector: ConnectorState | None
    slot: Slot | None
    note: CareNote
    can_create: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """`trouble` is empty while all is well. Without an action, `advice` says who mends it."""

    trouble: str = ""
    action: Action | None = None
    advice: str = ""

    def __str__(self) -> str:
        return "; ".join(part for part in (self.trouble, self.advice) if part)


def decide(seen: Seen) -> Plan:
    """What is wrong and what helps. The same action is not planned again before the note's waiting time is over."""
    plan = _cure(seen)
    if plan.action is not None and plan.action == seen.note.action and seen.note.wait_s > 0:
        return Plan(plan.trouble, None, f"after {seen.note.attempts} × {plan.action} the next follows by itself")
    return plan


def next_wait(action: Action, note: CareNote) -> tuple[int, float]:
    """How often it was tried in a row, this time included, and how long to wait before the next time, s."""
    is_again = note.action == action and note.acted_ago_s < FORGET_S
    attempts = note.attempts + 1 if is_again else 1
    return attempts, min(_FIRST_WAIT_S[action] * 2 ** min(attempts - 1, 10), _LONGEST_WAIT_S[action])


def has_helped(seen: Seen) -> bool:
    """Whether the last action can be forgotten, so that the next trouble is met at once again."""
    is_running = seen.connector is not None and seen.connector.is_running and not _cure(seen).trouble
    return is_running and seen.note.attempts > 0 and seen.note.acted_ago_s > SETTLED_S


def _cure(seen: Seen) -> Plan:
    state, note = seen.connector, seen.note
    if state is None:
        advice = "" if seen.can_create else "`pdm setup` puts it back: this process has no password of the cdc role"
        return Plan("the connector is gone", "create" if seen.can_create else None, advice)
    if state.state == UNREACHABLE:
        return Plan(state.trouble, None, "is Kafka Connect up?")
    # Nothing of ours ever pauses it.
    if state.state == "PAUSED" or (state.state == "STOPPED" and not note.is_stopped_by_us):
        return Plan(f"the connector is {state.state}, no alert travels", None, "a person did that: see `pdm doctor`")
    if note.resend_reason is not None:
        return Plan(note.resend_reason, "resend")
    if seen.slot is not None and seen.slot.wal_status == "lost":
        return Plan("the slot is lost: the write-ahead log that it needs is gone", "resend")
    if state.has_failed:
        return Plan(str(state), "restart")
    return Plan()
