"""The simulator on real Kafka: what it says it sent stands on the topics, once, in order and keyed by machine."""

import asyncio
from collections import defaultdict

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from pdm.broker import make_broker
from pdm.config import RAW_TOPIC, TRUTH_TOPIC, Settings
from pdm.events import GroundTruth, decode_reading
from pdm.simulator.fleet import Caps, Command, Fleet
from pdm.simulator.handler import Run
from pdm.simulator.machine import Operation
from pdm.simulator.outlet import Outlet
from pdm.simulator.profiles import PROFILES
from pdm.topics import open_tail

MACHINES = [f"simulator-{number}" for number in range(6)]


def test_what_was_acknowledged_stands_on_the_topics_once(stack: Settings) -> None:
    runs, readings, truth = asyncio.run(_simulate(stack))
    assert set(runs) == set(MACHINES)
    for machine_id, run in runs.items():
        records = readings[machine_id]
        times = [decode_reading(record.key, record.value).timestamp for record in records]
        assert run.sent == len(records) == len(set(times)) > 0
        assert times == sorted(times)
        assert len({record.partition for record in records}) == 1
        assert {name for record in records for name, _ in record.headers} == {"content-type", "correlation_id"}
    told = {m: [msgspec.json.decode(record.value or b"", type=GroundTruth) for record in truth[m]] for m in MACHINES}
    for machine_id in MACHINES:
        assert [item.event for item in told[machine_id] if item.mode is None] == ["started", "ended"]
        assert {item.mode for item in told[machine_id]} == {None, "Overstrain", "Power"}


Records = dict[str, list[ConsumerRecord]]


async def _simulate(settings: Settings) -> tuple[dict[str, Run], Records, Records]:
    broker = make_broker(settings.kafka, "simulator")
    outlet = Outlet(broker)
    fleet = Fleet(outlet, Caps.of(settings.simulator, settings.inference.max_interval_s))
    async with open_tail(settings.kafka, RAW_TOPIC, TRUTH_TOPIC) as tail:
        await broker.start()
        assert (await outlet.check_kafka()).is_ok
        runs = fleet.obey([Command(name, Operation(PROFILES["normal"]), rate_hz=20) for name in MACHINES])
        await asyncio.sleep(1)
        fleet.obey([Command(name, Operation(PROFILES["overstrain"]), duration_s=1) for name in MACHINES])
        await asyncio.sleep(2)
        await fleet.close()
        await outlet.close()
        readings, truth = await _read(tail)
    return {run.machine.machine_id: run for run in runs}, readings, truth


async def _read(tail: AIOKafkaConsumer) -> tuple[Records, Records]:
    found: dict[str, Records] = {RAW_TOPIC: defaultdict(list), TRUTH_TOPIC: defaultdict(list)}
    while batches := await tail.getmany(timeout_ms=500):
        for partition, records in batches.items():
            for record in records:
                machine_id = (record.key or b"").decode()
                if machine_id in MACHINES:
                    found[partition.topic][machine_id].append(record)
    return found[RAW_TOPIC], found[TRUTH_TOPIC]
