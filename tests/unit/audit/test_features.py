"""Redis against the detector's own step over the log."""

from collections.abc import Mapping
from datetime import timedelta

from pdm.audit.features import LOOKS, recomputation
from pdm.audit.findings import Tally
from pdm.events import decode_reading
from pdm.inference.episode import Position
from pdm.inference.machine import Arrival, Cadence, Machine, observe
from pdm.inference.shown import features_of
from tests.records import NOON, reading_json

CADENCE = Cadence.of(5.0)
NOON_MS = int(NOON.timestamp() * 1000)
READINGS = [reading_json("m", NOON + timedelta(seconds=second), torque_nm=40 + second % 7) for second in range(400)]


def shown_after(count: int, *, first: int = 0) -> dict[str, str]:
    """What inference, started at the record `first`, writes after `count` records."""
    machine = Machine.new("m", CADENCE)
    for offset in range(first, count):
        arrival = Arrival(decode_reading(b"m", READINGS[offset]), Position(NOON_MS + 1000 * offset, offset))
        observe(machine, arrival)
    found = features_of(machine, arrival)
    return {name: str(value) for name, value in found.items() if value is not None}


def told(
    features: Mapping[str, str], *, records: int = 400, judged: int = 400, severities: Mapping[str, str] | None = None
) -> list[str]:
    tally = Tally()
    found = recomputation({"m": features}, {0: judged}, CADENCE, tally)
    for offset in range(records):
        found.take(0, offset, NOON_MS + 1000 * offset, b"m", READINGS[offset])
    found.settle(severities or {}, tally)
    return [finding.what for finding in tally.findings()]


def test_what_inference_wrote_is_what_the_log_gives_also_after_a_restart() -> None:
    assert told(shown_after(400)) == []
    assert told(shown_after(400, first=310)) == []  # warmed up from 90 s before


def test_a_batch_under_way_is_no_difference() -> None:
    assert told(shown_after(390), judged=390) == []


def test_a_mean_off_by_more_than_a_rounding_is_told() -> None:
    features = shown_after(400)
    mean = float(features["torque_1m_avg"])
    assert told({**features, "torque_1m_avg": str(mean * (1 + 1e-12))}) == []
    (what,) = told({**features, "torque_1m_avg": str(mean * (1 + 1e-6))})
    assert what.startswith("torque_1m_avg in Redis is not what the log gives: ")


def test_a_last_value_that_differs_or_is_gone_is_told() -> None:
    features = shown_after(400)
    assert "last_rpm" in told({**features, "last_rpm": "1.0"})[0]
    assert "last_rpm" in told({name: value for name, value in features.items() if name != "last_rpm"})[0]


def test_features_that_stayed_behind_are_told() -> None:
    assert told(shown_after(390)) == ["Redis is behind what inference has judged"]


def test_state_is_that_of_the_open_episode() -> None:
    (what,) = told(shown_after(400), severities={"m": "critical"})
    assert what == "state in Redis is not that of the episode: clear, not critical"


def test_features_without_their_time_are_no_features() -> None:
    assert told({"last_rpm": "1500.0"}) == ["a machine has no features in Redis"]


def test_an_outage_of_the_broker_is_no_difference() -> None:
    """Readings of one minute, the first half appended long before the second: nobody remembers it, restarted or not."""
    places = [(NOON_MS + 1000 * n + (200_000 if n >= 30 else 0), n) for n in range(60)]
    machine = Machine.new("m", CADENCE)
    for appended_ms, offset in places:
        arrival = Arrival(decode_reading(b"m", READINGS[offset]), Position(appended_ms, offset))
        observe(machine, arrival)
    features = {name: str(value) for name, value in features_of(machine, arrival).items() if value is not None}
    found = []
    for warm_ups in LOOKS:
        tally = Tally()
        look = recomputation({"m": features}, {0: 60}, CADENCE, tally, warm_ups)
        for appended_ms, offset in places:
            look.take(0, offset, appended_ms, b"m", READINGS[offset])
        look.settle({}, tally)
        found.append(len(tally.findings()))
    assert found == [0, 0]
