"""The wire contracts: what stands on each topic, and how bytes become values. Pure; no clock, no I/O."""

from datetime import MAXYEAR, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pdm.errors import BadRecord, RejectReason

MAX_RECORD_BYTES = 64 * 1024  # a reading of five sensors and 64 channels has under 8 KiB
MACHINE_ID_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"  # \Z, not $: $ lets a newline in
CHANNEL_NAME_PATTERN = r"\A[A-Za-z0-9_.-]{1,63}\Z"
VERIFY_PREFIX = "pdm-verify-"  # machines of an accelerated check run: never notified, never in the fleet
SENSORS = ("air_temp_k", "process_temp_k", "rpm", "torque_nm", "tool_wear_min")

MachineId = Annotated[str, Meta(pattern=MACHINE_ID_PATTERN)]
AwareDatetime = Annotated[datetime, Meta(tz=True)]
# No sensor of ours measures beyond this, and every product of two values stays finite.
SensorValue = Annotated[float, Meta(ge=-1e9, le=1e9)]
ChannelName = Annotated[str, Meta(pattern=CHANNEL_NAME_PATTERN)]

ProductType = Literal["L", "M", "H"]
FailureType = Literal["Overstrain", "HeatDissipation", "Power", "ToolWear", "Unknown"]
Severity = Literal["warning", "critical"]
Transition = Literal["opened", "escalated", "eased", "cleared"]


class Reading(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One record of `sensor-raw-data`. Up to four of the five sensors may be absent or null (a dead sensor)."""

    machine_id: MachineId
    timestamp: AwareDatetime
    air_temp_k: SensorValue | None = None
    process_temp_k: SensorValue | None = None
    rpm: SensorValue | None = None
    torque_nm: SensorValue | None = None
    tool_wear_min: SensorValue | None = None
    product_type: ProductType | None = None
    channels: Annotated[dict[ChannelName, SensorValue], Meta(max_length=64)] | None = None

    def sensor_values(self) -> tuple[float | None, ...]:
        """The five sensors in the order of SENSORS."""
        return self.air_temp_k, self.process_temp_k, self.rpm, self.torque_nm, self.tool_wear_min


class AlertEvent(msgspec.Struct, frozen=True):
    """One record of `anomaly-alerts`: a transition of an episode, carrying the episode's whole state after it."""

    machine_id: str
    failure_type: FailureType
    timestamp: AwareDatetime  # of the reading that caused this transition
    version: int
    event: Transition
    episode_id: str
    seq: int  # 1 at `opened`, one more with each event
    severity: Severity
    appended_at: AwareDatetime  # the broker's time of that reading
    score: float
    failure_types: list[FailureType]
    reasons: list[str]  # short texts with numbers and units
    model_version: str | None
    detected_at: AwareDatetime
    skew_s: float = 0.0  # a wrong machine clock is so far ahead of the broker's; 0: the clock is right


class GroundTruth(msgspec.Struct, frozen=True):
    """One record of `sensor-ground-truth`: what the simulator injected. Times are the readings' own."""

    machine_id: str
    injection_id: str
    profile: str
    event: Literal["started", "violated", "ended"]
    mode: FailureType | None  # of a first violation; None for `started` and `ended`
    timestamp: AwareDatetime


_reading_decoder = msgspec.json.Decoder(Reading)
_event_decoder = msgspec.json.Decoder(AlertEvent)
_encoder = msgspec.json.Encoder()


def encode(value: Reading | AlertEvent | GroundTruth) -> bytes:
    return _encoder.encode(value)


def decode_event(value: bytes) -> AlertEvent:
    """Raises BadRecord; unknown fields are ignored, so that an older portal reads a newer detector."""
    try:
        return _event_decoder.decode(value)
    except msgspec.ValidationError as error:
        raise BadRecord("wrong_type", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord("invalid_json", str(error)[:200]) from None


def decode_reading(key: bytes | None, value: bytes | None) -> Reading:
    """Raises BadRecord with a reason of the closed list; nothing else, whatever the bytes."""
    found = read_reading(key, value)
    if isinstance(found, BadRecord):
        raise found
    return found


def read_reading(key: bytes | None, value: bytes | None) -> Reading | BadRecord:
    """As `decode_reading`, but returns the error: in a burst of bad records, raising costs a quarter more."""
    if value is None:
        return BadRecord("null_value", "the record has no value")
    if len(value) > MAX_RECORD_BYTES:
        return BadRecord("oversized", f"{len(value)} bytes, the limit is {MAX_RECORD_BYTES}")
    try:
        reading = _reading_decoder.decode(value)
    except msgspec.ValidationError as error:
        message = str(error)
        return BadRecord(_reason_of(message), message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadRecord("invalid_json", str(error)[:200])
    return _fault_of(reading, key) or reading


def is_storable(moment: datetime) -> bool:
    """False at the ends of the calendar, where a time with an offset may have no equal in UTC."""
    return 1 < moment.year < MAXYEAR


def _fault_of(reading: Reading, key: bytes | None) -> BadRecord | None:
    if all(value is None for value in reading.sensor_values()):
        return BadRecord("no_sensor", "all five sensors are absent or null")
    if not is_storable(reading.timestamp):
        return BadRecord("bad_timestamp", f"{reading.timestamp.isoformat()} may have no equal in UTC")
    if key is not None and key != reading.machine_id.encode():
        return BadRecord("key_mismatch", f"the record's key is not its machine_id {reading.machine_id}")
    return None


def _reason_of(message: str) -> RejectReason:
    """msgspec tells the place of an error only in its text, `… - at `$.rpm``; tests hold these readings of it."""
    path = message.rpartition("at `")[2]
    if "missing required field" in message:
        return "missing_field"
    if "out of range" in message or "Expected `float` " in message:
        return "out_of_range"
    if "$.channels" in path:
        return "bad_channel"
    if path.startswith("$.machine_id"):
        return "bad_machine_id"
    if path.startswith("$.timestamp"):
        return "bad_timestamp"
    return "wrong_type"
