"""Ground truth: one injection a fault, each mode once, natural failures of `ai4i` product by product."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pdm.events import GroundTruth
from pdm.simulator.machine import OperatingPoint
from pdm.simulator.profiles import PROFILES
from pdm.simulator.truth import Witness, violated_modes

NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)
CALM = OperatingPoint(
    air_temp_k=300.0,
    delta_t_k=10.0,
    rpm=1500.0,
    torque_nm=40.0,
    tool_wear_min=50.0,
    product_type="L",
    product_number=1,
    has_tool_failed=False,
)
STRAINED = replace(CALM, torque_nm=80.0, rpm=1250.0)
WEAK = replace(CALM, torque_nm=10.0, rpm=2700.0)


def at(second: int) -> datetime:
    return NOON + timedelta(seconds=second)


def story(told: list[GroundTruth]) -> list[tuple[str, str | None, int]]:
    return [(item.event, item.mode, int((item.timestamp - NOON).total_seconds())) for item in told]


def test_each_limit_has_its_mode() -> None:
    assert violated_modes(CALM) == ()
    assert violated_modes(STRAINED) == ("Overstrain", "Power")
    assert violated_modes(replace(CALM, torque_nm=60.0, tool_wear_min=190.0, rpm=1333.0)) == ("Overstrain",)
    assert violated_modes(replace(CALM, delta_t_k=8.5, rpm=1379.0)) == ("HeatDissipation",)
    assert violated_modes(WEAK) == ("Power",)
    assert violated_modes(replace(CALM, tool_wear_min=253.0)) == ("ToolWear",)
    assert violated_modes(replace(CALM, has_tool_failed=True)) == ("ToolWear",)


def test_an_injection_is_told_once_from_start_to_end() -> None:
    witness = Witness("machine-001")
    told = witness.see(PROFILES["normal"], 1, CALM, at(0))
    told += witness.see(PROFILES["power"], 2, CALM, at(1))  # creeping in
    told += witness.see(PROFILES["power"], 2, WEAK, at(2))
    told += witness.see(PROFILES["power"], 2, WEAK, at(3))
    told += witness.see(PROFILES["normal"], 3, CALM, at(4))
    assert story(told) == [("started", None, 1), ("violated", "Power", 2), ("ended", None, 4)]
    assert len({item.injection_id for item in told}) == 1
    assert {item.profile for item in told} == {"power"}


def test_the_same_fault_again_is_another_injection() -> None:
    witness = Witness("machine-001")
    first = witness.see(PROFILES["power"], 1, WEAK, at(0))
    again = witness.see(PROFILES["power"], 2, WEAK, at(1))
    assert story(again) == [("ended", None, 1), ("started", None, 1), ("violated", "Power", 1)]
    assert again[0].injection_id == first[0].injection_id != again[1].injection_id


def test_a_stopped_machine_ends_its_injection_once() -> None:
    witness = Witness("machine-001")
    witness.see(PROFILES["power"], 1, WEAK, at(0))
    assert story(witness.end(at(5))) == [("ended", None, 5)]
    assert witness.end(at(6)) == []


def test_a_natural_failure_lasts_until_its_product_is_done() -> None:
    witness = Witness("machine-001")
    told = witness.see(PROFILES["ai4i"], 1, CALM, at(0))
    told += witness.see(PROFILES["ai4i"], 1, WEAK, at(1))
    told += witness.see(PROFILES["ai4i"], 1, CALM, at(2))
    told += witness.see(PROFILES["ai4i"], 1, replace(CALM, product_number=2), at(3))
    assert story(told) == [("started", None, 1), ("violated", "Power", 1), ("ended", None, 3)]


def test_normal_is_never_told() -> None:
    assert Witness("machine-001").see(PROFILES["normal"], 1, WEAK, at(0)) == []
