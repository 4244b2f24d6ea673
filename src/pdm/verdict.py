"""Whether an event is told to people, and why not. Pure; the clock is handed in."""

from datetime import datetime, timedelta

from pdm.events import VERIFY_PREFIX, AlertEvent

LATE_AFTER = timedelta(minutes=2)


def is_worth_telling(event: AlertEvent) -> bool:
    """A milder state pages nobody, neither do the machines of a check run."""
    return event.event != "eased" and not event.machine_id.startswith(VERIFY_PREFIX)


def is_late(event: AlertEvent, now: datetime) -> bool:
    """The deciding reading came to the broker long ago, or was itself old when it came there."""
    measured_at = event.timestamp - timedelta(seconds=event.skew_s)
    return now - event.appended_at > LATE_AFTER or event.appended_at - measured_at > LATE_AFTER


def reason_to_drop(event: AlertEvent, now: datetime, *, is_open: bool, is_superseded: bool) -> str | None:
    """None: send it. Late news is worth one page while the episode is open, its newest state; none once it is over."""
    if not is_late(event, now):
        return None
    if not is_open:
        return "late and over"
    return "late, a newer state is told instead" if is_superseded else None
