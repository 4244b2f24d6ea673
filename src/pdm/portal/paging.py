"""Cursors of keyset paging: where a page ended, opaque to the caller. Pure."""

import base64
from typing import TypeVar
from uuid import UUID

import msgspec

from pdm.events import AwareDatetime, MachineId
from pdm.problems import Problem

MAX_PAGE = 1_000

T = TypeVar("T", bound=msgspec.Struct)


class AlertCursor(msgspec.Struct, frozen=True, array_like=True):
    opened_at: AwareDatetime
    episode_id: UUID


class TimeCursor(msgspec.Struct, frozen=True, array_like=True):
    timestamp: AwareDatetime


class MachineCursor(msgspec.Struct, frozen=True, array_like=True):
    machine_id: MachineId


def encode_cursor(cursor: msgspec.Struct) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[T]) -> T:
    """Raises Problem 422 for anything that no `next` of this list ever was."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (msgspec.DecodeError, RecursionError, ValueError):  # what is no base64 or no UTF-8 is a ValueError
        raise Problem(422, "This cursor is not one of this list.", hint="Take it from `next` of a page.") from None
