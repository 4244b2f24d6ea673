"""A fault's journey: hops in order as they are seen, latencies by one clock, and what counts as agreement."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from pdm.events import AlertEvent, Reading, encode
from pdm.journey import BOUNDS, Journey, Relayed, Sent
from pdm.store.alerts import Alert
from pdm.store.history import StoredReading
from pdm.store.relay import OutboxRow

FIRST = datetime(2026, 1, 5, 12, tzinfo=UTC)
DECIDING = FIRST + timedelta(seconds=1)
EPISODE = UUID("0b0e2c4e-6a0d-5d5a-9f57-3c1f1d0a7c11")
EVENT_ID = "7b0e2c4e-6a0d-5d5a-9f57-3c1f1d0a7c11"
LINE = "!!긴급!! machine-001 과부하 감지"


def reading(at: datetime) -> Reading:
    return Reading("machine-001", at, 300.0, 310.0, 1250.0, 80.5, 120.0)


def row(at: datetime) -> StoredReading:
    return StoredReading("machine-001", at, 300.0, 310.0, 1250.0, 80.5, 120.0, None, None)


def alert() -> Alert:
    return Alert(
        EPISODE, "machine-001", 1, "Overstrain", ["Overstrain"], "critical", True, DECIDING, DECIDING, DECIDING,
        None, None, 1.0, ["strain 12,000 of 11,000 min·Nm"], None, "live", False, None, None,
    )  # fmt: skip


def payload() -> bytes:
    return encode(
        AlertEvent(
            "machine-001", "Overstrain", DECIDING, 1, "opened", str(EPISODE), 1, "critical", DECIDING, 1.0,
            ["Overstrain"], ["strain 12,000 of 11,000 min·Nm"], None, DECIDING,
        )
    )  # fmt: skip


@pytest.fixture
def journey() -> Journey:
    """A finished one: two readings, the second opened the episode."""
    return Journey(
        sent={FIRST: Sent(10.0, reading(FIRST), 2, 7), DECIDING: Sent(11.0, reading(DECIDING), 2, 8)},
        stored={FIRST: (10.1, row(FIRST)), DECIDING: (11.1, row(DECIDING))},
        detected=(11.2, alert()),
        committed=(11.3, OutboxRow(EVENT_ID, "machine-001", payload().decode())),
        relayed={EVENT_ID: Relayed(11.4, b"machine-001", payload())},
        received_at_s=11.5,
        told=(11.6, LINE),
    )


def test_a_finished_journey_has_every_hop_in_order(journey: Journey) -> None:
    hops = list(journey.hops())

    assert [hop.name for hop in hops] == list(BOUNDS)
    assert hops[-1].detail == LINE
    assert journey.disagreements() == []


def test_hops_end_before_the_first_that_was_not_seen(journey: Journey) -> None:
    journey.relayed.clear()

    assert [hop.name for hop in journey.hops()] == ["sent", "stored", "detected", "committed"]
    assert Journey().disagreements() == ["the journey is not finished"]


def test_the_journey_is_not_over_before_the_deciding_reading_is_stored(journey: Journey) -> None:
    del journey.stored[DECIDING]

    assert [hop.name for hop in journey.hops()][-1] == "portal"


def test_latencies_count_from_the_deciding_reading(journey: Journey) -> None:
    latencies_ms = {name: round(seconds * 1000) for name, seconds in journey.latencies_s().items()}

    assert latencies_ms == {
        "sent": 0, "stored": 100, "detected": 200, "committed": 300, "relayed": 400, "portal": 500, "told": 600,
    }  # fmt: skip


def test_a_row_with_other_values_is_told(journey: Journey) -> None:
    journey.stored[DECIDING] = (11.1, replace(row(DECIDING), torque_nm=80.4))

    assert journey.disagreements() == ["sensor_log holds other values than the reading"]


def test_a_record_that_is_not_the_outbox_row_is_told(journey: Journey) -> None:
    journey.relayed[EVENT_ID] = Relayed(11.4, b"machine-001", payload() + b" ")

    assert journey.disagreements() == ["the record on anomaly-alerts is not the outbox row"]


def test_an_event_of_another_reading_is_told(journey: Journey) -> None:
    later = payload().replace(b"12:00:01Z", b"12:00:09Z", 1)
    journey.committed = (11.3, OutboxRow(EVENT_ID, "machine-001", later.decode()))
    journey.relayed[EVENT_ID] = Relayed(11.4, b"machine-001", later)

    (difference,) = journey.disagreements()
    assert difference.startswith("timestamp differs")
