"""The ways to reach people: a name and a function each. A channel raises to be tried again later."""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from pdm.events import AlertEvent

Channel = Callable[[str, AlertEvent], Awaitable[None]]

log = structlog.get_logger()


async def write_to_log(message: str, event: AlertEvent) -> None:
    """The line itself is the log's event: whoever greps for it finds it as a person would read it."""
    write = log.critical if event.severity == "critical" and event.event != "cleared" else log.warning
    write(
        message,
        machine_id=event.machine_id,
        failure_type=event.failure_type,
        episode_id=event.episode_id,
        seq=event.seq,
        reasons=event.reasons,
    )


CHANNELS: Mapping[str, Channel] = {"log": write_to_log}
