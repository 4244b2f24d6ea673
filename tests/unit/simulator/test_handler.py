"""One machine over time: its grid, back-pressure, what is skipped, and what is told when it switches or stops."""

import asyncio
from datetime import UTC, datetime

from pdm.errors import Retryable
from pdm.events import GroundTruth, Reading
from pdm.simulator.fleet import Caps, Command, Fleet
from pdm.simulator.handler import Run
from pdm.simulator.machine import Operation
from pdm.simulator.profiles import PROFILES, ProfileName
from tests.unit.simulator.conftest import START_S, FakeClock, FakeOutlet, all_ended


class RefusesFirstTruth(FakeOutlet):
    async def send(self, value: Reading | GroundTruth) -> None:
        if isinstance(value, GroundTruth) and len(self.readings) == 1:
            raise Retryable("refused")
        await super().send(value)


def caps() -> Caps:
    return Caps(max_machines=3, max_rate_hz=10.0, min_rate_hz=0.2)


def command(profile: ProfileName = "normal", duration_s: float | None = None, rate_hz: float | None = None) -> Command:
    return Command("machine-001", Operation(PROFILES[profile]), duration_s, rate_hz)


async def turns(number: int) -> None:
    """Let the machine's task run: a turn needs a few passes of the loop."""
    for _ in range(5 * number):
        await asyncio.sleep(0)


async def run_to_the_end(fleet: Fleet, one: Command) -> Run:
    (run,) = fleet.obey([one])
    await all_ended(fleet)
    return run


def seconds(outlet: FakeOutlet) -> list[float]:
    return [reading.timestamp.timestamp() - START_S for reading in outlet.readings]


def test_readings_stand_on_the_grid_and_carry_it_as_utc(fleet: Fleet, outlet: FakeOutlet) -> None:
    run = asyncio.run(run_to_the_end(fleet, command(duration_s=5, rate_hz=2)))
    assert seconds(outlet) == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5]
    assert outlet.readings[0].timestamp == datetime.fromtimestamp(START_S, UTC)
    assert (run.sent, run.skipped, run.state) == (10, 0, "stopped")


def test_a_slow_acknowledgement_skips_instants_instead_of_queueing(fleet: Fleet, outlet: FakeOutlet) -> None:
    outlet.latency_s = 2.5
    run = asyncio.run(run_to_the_end(fleet, command(duration_s=9)))
    assert seconds(outlet) == [0, 3, 6]
    assert (run.sent, run.skipped) == (3, 6)


def test_the_same_seed_gives_the_same_values_at_any_time_of_day(clock: FakeClock) -> None:
    def values_at(start_s: float) -> list[tuple[float | None, ...]]:
        clock.now_s = start_s
        outlet = FakeOutlet(clock)
        fleet = Fleet(outlet, caps(), clock.time, draw_seed=lambda: 7)
        asyncio.run(run_to_the_end(fleet, command("ai4i", duration_s=300)))
        return [reading.sensor_values() for reading in outlet.readings]

    assert values_at(START_S) == values_at(START_S + 12_345.678)


def test_while_kafka_is_away_one_reading_waits_and_the_rest_is_skipped(
    fleet: Fleet, outlet: FakeOutlet, clock: FakeClock
) -> None:
    async def story() -> Run:
        (run,) = fleet.obey([command(duration_s=20)])
        outlet.back.clear()
        await turns(1)
        clock.now_s += 10.5
        assert run.state == "waiting for Kafka"
        assert not (await fleet.check_sending()).is_ok
        outlet.back.set()
        await turns(2)
        assert (await fleet.check_sending()).is_ok
        await all_ended(fleet)
        return run

    run = asyncio.run(story())
    assert seconds(outlet) == [0, *range(11, 20)]
    assert (run.sent, run.skipped) == (10, 10)


def test_a_producer_that_is_not_connected_is_waited_for(fleet: Fleet, outlet: FakeOutlet) -> None:
    async def story() -> Run:
        outlet.refuses = True
        (run,) = fleet.obey([command(duration_s=200)])
        await turns(5)
        assert run.state == "waiting for Kafka"
        assert run.sent == 0
        outlet.refuses = False
        await all_ended(fleet)
        return run

    run = asyncio.run(story())
    assert run.sent > 0
    assert run.sent + run.skipped == 200
    assert seconds(outlet)[-1] == 199


def test_a_fault_switches_at_the_next_reading_returns_and_is_told(fleet: Fleet, outlet: FakeOutlet) -> None:
    async def story() -> None:
        (run,) = fleet.obey([command()])
        await turns(10)
        before = len(outlet.readings)
        fleet.obey([command("overstrain", duration_s=3)])
        await turns(10)
        torques = [reading.torque_nm or 0.0 for reading in outlet.readings]
        assert max(torques[:before]) < 55
        assert min(torques[before : before + 3]) > 65
        assert max(torques[before + 3 :]) < 55
        start, end = outlet.readings[before].timestamp, outlet.readings[before + 3].timestamp
        assert [(told.event, told.timestamp) for told in outlet.truth if told.mode is None] == [
            ("started", start),
            ("ended", end),
        ]
        assert {told.mode for told in outlet.truth if told.event == "violated"} == {"Overstrain", "Power"}
        assert run.injection is None
        await fleet.close()

    asyncio.run(story())


def test_a_stopped_machine_tells_the_end_of_its_fault(fleet: Fleet, outlet: FakeOutlet) -> None:
    async def story() -> None:
        (run,) = fleet.obey([command("power")])
        await turns(3)
        await fleet.stop([run])
        assert run.state == "stopped"

    asyncio.run(story())
    assert outlet.truth[-1].event == "ended"
    assert outlet.truth[-1].timestamp == outlet.readings[-1].timestamp


def test_truth_that_was_refused_is_told_with_the_next_reading(fleet: Fleet, outlet: FakeOutlet) -> None:
    refuse_truth = RefusesFirstTruth(outlet.clock)
    fleet = Fleet(refuse_truth, caps(), outlet.clock.time, draw_seed=lambda: 7)
    asyncio.run(run_to_the_end(fleet, command("power", duration_s=10)))
    assert [told.event for told in refuse_truth.truth] == ["started", "violated", "ended"]
    assert len({told.injection_id for told in refuse_truth.truth}) == 1


def test_a_clock_that_is_set_back_does_not_stall_a_machine(fleet: Fleet, outlet: FakeOutlet, clock: FakeClock) -> None:
    async def story() -> None:
        fleet.obey([command()])
        await turns(2)
        clock.now_s -= 3600
        await turns(20)
        await fleet.close()

    asyncio.run(story())
    assert max(clock.slept_s) <= 1.0
    assert seconds(outlet) == sorted(set(seconds(outlet)))
    assert len(outlet.readings) > 5
