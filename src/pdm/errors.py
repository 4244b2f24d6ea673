"""The error tree, sorted by what the caller must do. Owns no behaviour beyond the message shown to a person."""

from typing import Literal

RejectReason = Literal[
    "null_value",
    "oversized",
    "invalid_json",
    "missing_field",
    "wrong_type",
    "bad_machine_id",
    "key_mismatch",
    "bad_timestamp",
    "no_sensor",
    "out_of_range",
    "bad_channel",
    "too_old",
    "too_new",
    "conflicting_duplicate",
]
"""Why a record became a dead letter. Public contract: names are only ever added (docs/dead-letters.md)."""


class PdmError(Exception):
    """Something a person should read. `hint` says what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Retryable(PdmError):
    """The same call may succeed later: an engine is away, restarting or busy."""


class Misconfigured(PdmError):
    """No retry will help: a person must change a setting, a file or a right."""


class BadRecord(PdmError):
    """One record that can never be used. It is set aside with its reason; its neighbours go on."""

    hint = ""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        # No text is made up front: in a burst of bad records nobody reads it.
        self.reason: RejectReason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
