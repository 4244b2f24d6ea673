"""The physics of one machine: the AI4I recipe, the bounds of the profiles, and what a seed fixes."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pdm import physics
from pdm.events import Reading
from pdm.simulator.machine import MAX_DEVIATION_SD, Machine, OperatingPoint, Operation, Walk
from pdm.simulator.profiles import PROFILES, ProfileName

NOON = datetime(2025, 11, 7, 12, 0, tzinfo=UTC)
DAY_S = 86_400


def machine(profile: ProfileName = "normal", seed: int = 1) -> Machine:
    return Machine("machine-001", seed, Operation(PROFILES[profile]))


def readings(worker: Machine, seconds: int, step_s: float = 1.0) -> Iterator[Reading]:
    start_s = worker.elapsed_s
    for number in range(int(seconds / step_s)):
        at_s = start_s + number * step_s
        yield worker.measure(worker.advance_to(at_s), NOON + timedelta(seconds=at_s))


def points(worker: Machine, seconds: int, step_s: float = 1.0) -> list[OperatingPoint]:
    start_s = worker.elapsed_s
    return [worker.advance_to(start_s + number * step_s) for number in range(int(seconds / step_s))]


def violated_limits(reading: Reading) -> list[str]:
    """By the readings alone, as a rule sees them."""
    assert reading.air_temp_k is not None
    assert reading.process_temp_k is not None
    assert reading.rpm is not None
    assert reading.torque_nm is not None
    assert reading.tool_wear_min is not None
    strain = physics.strain_min_nm(reading.tool_wear_min, reading.torque_nm)
    found = {
        "heat": physics.overheats(physics.delta_t_k(reading.air_temp_k, reading.process_temp_k), reading.rpm),
        "power": physics.leaves_power_band(physics.power_w(reading.torque_nm, reading.rpm)),
        "strain": physics.overstrains(strain, physics.strain_limit_min_nm(reading.product_type)),
        "mean torque": reading.torque_nm >= physics.MEAN_TORQUE_LIMIT_NM,
    }
    return [name for name, is_violated in found.items() if is_violated]


def test_normal_leaves_room_for_the_largest_deviation_of_every_sensor() -> None:
    profile = PROFILES["normal"]
    assert profile.delta_t_band_k is not None
    assert profile.change_tool_at_min is not None
    assert profile.delta_t_band_k[0] - 2 * MAX_DEVIATION_SD * 0.1 - 2 * 0.05 >= physics.HEAT_MIN_DELTA_T_K
    for torque_nm in np.linspace(profile.torque.lowest_nm, profile.torque.highest_nm, 201):
        spread_rpm = MAX_DEVIATION_SD * (physics.SPEED_RESIDUAL_SD_RPM + physics.SENSOR_SD_SPEED_RPM) + 0.5
        error_nm = MAX_DEVIATION_SD * physics.SENSOR_SD_TORQUE_NM + 0.05
        rpm = physics.speed_rpm(float(torque_nm))
        assert physics.power_w(torque_nm - error_nm, rpm - spread_rpm) > physics.POWER_MIN_W
        assert physics.power_w(torque_nm + error_nm, rpm + spread_rpm) < physics.POWER_MAX_W
        strain = physics.strain_min_nm(profile.change_tool_at_min, torque_nm + error_nm)
        assert strain < physics.STRAIN_LIMIT_MIN_NM["L"] - physics.TWO_SIGMA_STRAIN_MIN_NM


@pytest.mark.parametrize("seed", range(30))
def test_normal_violates_no_rule_in_thirty_machine_days(seed: int) -> None:
    assert not [
        found for reading in readings(machine(seed=seed), DAY_S, step_s=60) if (found := violated_limits(reading))
    ]


def test_ai4i_fails_as_often_as_the_data_set() -> None:
    """10,000 products, as the data set has (46, 115, 95, 98 failures); bands: three standard deviations of the mean."""
    runs = 3
    counts: Counter[str] = Counter()
    powers_w = []
    for seed in range(runs):
        worker = machine("ai4i", seed)
        for product in range(1, 10_001):
            point = next_product(worker, product)
            power_w = physics.power_w(point.torque_nm, point.rpm)
            strain = physics.strain_min_nm(point.tool_wear_min, point.torque_nm)
            powers_w.append(power_w)
            counts["TWF"] += point.has_tool_failed
            counts["HDF"] += physics.overheats(point.delta_t_k, point.rpm)
            counts["PWF"] += physics.leaves_power_band(power_w)
            counts["OSF"] += physics.overstrains(strain, physics.strain_limit_min_nm(point.product_type))
    assert counts["TWF"] / runs == pytest.approx(46, abs=10)
    assert counts["HDF"] / runs == pytest.approx(105, abs=94)
    assert counts["PWF"] / runs == pytest.approx(105, abs=16)
    assert counts["OSF"] / runs == pytest.approx(101, abs=19)
    assert np.mean(powers_w) == pytest.approx(6280, abs=20)
    assert np.std(powers_w) == pytest.approx(1070, abs=20)


def next_product(worker: Machine, number: int) -> OperatingPoint:
    """The first whole minute of the product after the last one read: products take 2, 3 or 5 minutes."""
    while (point := worker.advance_to(worker.elapsed_s + 60)).product_number < number:
        pass
    return point


def test_a_walk_never_drifts_off_however_it_is_stepped() -> None:
    rng = np.random.default_rng(1)
    for dt_s in (1.0, 100.0, 100_000.0):
        walks = [Walk(1000.0, rng.standard_normal()) for _ in range(4000)]
        for walk in walks:
            for _ in range(3):
                walk.move(dt_s, rng.standard_normal())
        assert np.mean([walk.value for walk in walks]) == pytest.approx(0, abs=0.07)
        assert np.std([walk.value for walk in walks]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("profile", "torque_nm", "delta_t_k"),
    [
        ("normal", (30, 50), (9.4, 11.0)),
        ("overstrain", (70, 90), (9.4, 11.0)),
        ("heat_dissipation", (54, 60), (7.0, 8.3)),
        ("power", (8, 12), (9.4, 11.0)),
        ("tool_wear", (30, 40), (9.4, 11.0)),
    ],
)
def test_a_profile_stays_within_its_bands(
    profile: ProfileName, torque_nm: tuple[float, float], delta_t_k: tuple[float, float]
) -> None:
    for point in points(machine(profile), 4 * 3600, step_s=10):
        assert torque_nm[0] <= point.torque_nm <= torque_nm[1]
        assert delta_t_k[0] - 1e-9 <= point.delta_t_k <= delta_t_k[1] + 1e-9


@pytest.mark.parametrize(
    ("profile", "limit"), [("overstrain", "power"), ("heat_dissipation", "heat"), ("power", "power")]
)
def test_a_fault_violates_its_limit_within_ten_readings(profile: ProfileName, limit: str) -> None:
    for seed in range(20):
        worker = machine(seed=seed)
        points(worker, 30)
        worker.switch(Operation(PROFILES[profile]))
        hits = [limit in violated_limits(reading) for reading in readings(worker, 20)]
        assert any(sum(hits[end - 5 : end]) >= 3 for end in range(5, 21)), f"seed {seed}: {hits}"


def test_overstrain_wears_the_tool_ten_times_as_fast_and_breaks_the_strain_limit_too() -> None:
    worker = machine("overstrain")
    worker.tool_wear_min = 0.0
    assert points(worker, 601)[-1].tool_wear_min == pytest.approx(100)
    assert any("strain" in violated_limits(reading) for reading in readings(worker, 480))


@pytest.mark.parametrize("profile", ["heat_dissipation", "power", "tool_wear"])
def test_other_faults_never_strain(profile: ProfileName) -> None:
    for reading in readings(machine(profile), DAY_S, step_s=30):
        assert not {"strain", "mean torque"} & set(violated_limits(reading))


def test_a_neglected_tool_passes_the_longest_life_within_five_minutes_and_violates_no_limit() -> None:
    worker = machine("tool_wear")
    worker.tool_wear_min = 0.0
    found = list(readings(worker, 600))
    wear_min = [reading.tool_wear_min or 0.0 for reading in found]
    assert wear_min[300] > physics.LONGEST_TOOL_LIFE_MIN
    assert wear_min[540] > wear_min[300]
    assert not [limits for reading in found if (limits := violated_limits(reading))]


@pytest.mark.parametrize("profile", ["overstrain", "heat_dissipation", "power", "tool_wear"])
def test_back_to_normal_clears_every_limit_within_seconds_and_for_good(profile: ProfileName) -> None:
    for seed in range(4):
        worker = machine(profile, seed)
        points(worker, 900)
        worker.switch(Operation(PROFILES["normal"]))
        points(worker, 20)
        assert not [limits for reading in readings(worker, 900) if (limits := violated_limits(reading))]


def test_a_ramp_creeps_in_linearly_from_the_present_operating_point() -> None:
    worker = machine()
    before = points(worker, 60)[-1]
    worker.switch(Operation(PROFILES["overstrain"], ramp_s=100))
    after = points(worker, 101)
    steps_nm = np.diff([before.torque_nm, *(point.torque_nm for point in after)])
    assert after[0].torque_nm == pytest.approx(before.torque_nm)
    assert steps_nm[1:] == pytest.approx((after[-1].torque_nm - before.torque_nm) / 100)
    assert 70 <= after[-1].torque_nm <= 90


def test_a_switch_keeps_tool_and_temperatures() -> None:
    worker = machine()
    before = points(worker, 600)[-1]
    worker.switch(Operation(PROFILES["power"]))
    after = worker.advance_to(worker.elapsed_s + 1)
    assert after.tool_wear_min == pytest.approx(before.tool_wear_min + 1 / 60)
    assert after.air_temp_k == pytest.approx(before.air_temp_k, abs=0.05)
    assert after.delta_t_k == pytest.approx(before.delta_t_k, abs=0.05)


def test_the_same_seed_gives_the_same_readings_and_another_seed_others() -> None:
    first, again, other = (list(readings(machine("ai4i", seed), 600)) for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_machines_of_one_seed_differ() -> None:
    operation = Operation(PROFILES["normal"])
    assert points(Machine("machine-001", 1, operation), 10) != points(Machine("machine-002", 1, operation), 10)


def test_what_a_machine_makes_does_not_depend_on_how_often_it_is_read() -> None:
    often, seldom = machine("ai4i"), machine("ai4i")
    for at_s in range(0, 7200, 300):
        for part in range(10):
            fine = often.advance_to(at_s + part * 30.0)
        coarse = seldom.advance_to(at_s + 270.0)
        assert fine.torque_nm == coarse.torque_nm
        assert fine.product_type == coarse.product_type
        assert fine.product_number == coarse.product_number
        assert fine.tool_wear_min == pytest.approx(coarse.tool_wear_min)


def test_values_are_printed_as_in_the_data_set() -> None:
    for reading in readings(machine("power"), 120):
        assert reading.rpm is not None
        assert float(reading.rpm).is_integer()
        for value in (reading.air_temp_k, reading.process_temp_k, reading.torque_nm, reading.tool_wear_min):
            assert value is not None
            assert value == round(value, 1)


def test_a_fixed_product_type_holds_for_every_product() -> None:
    worker = Machine("machine-001", 3, Operation(PROFILES["normal"], product_type="H"))
    assert {point.product_type for point in points(worker, 3600, step_s=60)} == {"H"}
