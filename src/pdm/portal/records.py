"""From a record of `anomaly-alerts` to an event, or the reason why it cannot be one. Pure, never raises."""

import re
from dataclasses import dataclass
from uuid import UUID

from aiokafka import ConsumerRecord

from pdm.errors import BadRecord
from pdm.events import MACHINE_ID_PATTERN, AlertEvent, decode_event, is_storable
from pdm.store.inbox import Incoming

MAX_SEQ = 2**31 - 1
_MACHINE_ID = re.compile(MACHINE_ID_PATTERN)


@dataclass(frozen=True, slots=True)
class Unusable:
    """A record that is counted, logged and passed over: it must not hold up its neighbours."""

    reason: str


def read_record(record: ConsumerRecord) -> Incoming | Unusable:
    try:
        return Incoming(_event_id(record), _event(record))
    except (BadRecord, ValueError) as error:
        return Unusable(str(error))


def _event_id(record: ConsumerRecord) -> UUID:
    """The outbox id that the relay put into the header `id`. Raises ValueError."""
    ids = [value for name, value in record.headers if name == "id" and value is not None]
    if not ids:
        raise ValueError("no header `id`")
    try:
        return UUID(ids[-1].decode())
    except ValueError:
        raise ValueError("the header `id` is no UUID") from None


def _event(record: ConsumerRecord) -> AlertEvent:
    """Raises ValueError or BadRecord. What passes can be stored: PostgreSQL takes no NUL and no wider number."""
    if record.value is None:
        raise ValueError("the record has no value")
    if rb"\u0000" in record.value:
        raise ValueError("a text holds a NUL")
    event = decode_event(record.value)
    if not _MACHINE_ID.match(event.machine_id):
        raise ValueError("machine_id breaks its pattern")
    if not 1 <= event.seq <= MAX_SEQ:
        raise ValueError(f"seq {event.seq} is out of range")
    if not all(map(is_storable, (event.timestamp, event.appended_at, event.detected_at))):
        raise ValueError("a time may have no equal in UTC")
    UUID(event.episode_id)
    return event
