"""Kafka's log itself loses records: retention passed, or the topic was deleted and made again. Told, never silent."""

import time
from collections.abc import Iterator

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from pdm.config import RAW_TOPIC, RoleName
from pdm.topics import ensure_topics
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run

READERS: tuple[RoleName, ...] = ("ingestor", "inference")


def faults() -> Iterator[Fault]:
    acts: dict[str, tuple[str, Act]] = {
        "retention passed two sleeping readers": ("50", _retention_passed),
        "topic made anew under running readers": ("51", _recreated(asleep=False)),
        "topic made anew under sleeping readers": ("51", _recreated(asleep=True)),
    }
    for name, (row, act) in acts.items():
        yield Fault(name, (row,), act, expected_s=70, has_truth=False)


def _gaps(rig: Rig) -> int:
    count = "SELECT count(*) FROM log_gap WHERE topic = %s"
    return sum(int(rig.ask(database, count, RAW_TOPIC)[0][0]) for database in ("main", "ai"))


def _retention_passed(rig: Rig, run: Run) -> None:
    """What was deleted before anybody read it is gone; that it is gone stands in `log_gap`, and the rest goes on."""
    before = _gaps(rig)
    with run.outage():
        for role in READERS:
            rig.roles[role].pause()
        time.sleep(3)
        run.figures["deleted"] = rig.loop.run(_delete_records(rig), 20)
        for role in READERS:
            rig.roles[role].kill()
            rig.roles[role].wait_ready()
    _require_gaps(rig, run, before)
    run.sender.forget_until_now()


async def _delete_records(rig: Rig) -> int:
    """All that the partitions hold now; returns how many offsets that were."""
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        (topic,) = await admin.describe_topics([RAW_TOPIC])
        partitions = [TopicPartition(RAW_TOPIC, part["partition"]) for part in topic["partitions"]]
        committed = await admin.list_consumer_group_offsets("pdm.ingestor")
        lows = await admin.delete_records({partition: RecordsToDelete(-1) for partition in partitions})
        return sum(max(0, lows[part] - (committed[part].offset if part in committed else 0)) for part in partitions)
    finally:
        await admin.close()


def _recreated(*, asleep: bool) -> Act:
    def act(rig: Rig, run: Run) -> None:
        before = _gaps(rig)
        run.offsets.may_go_back = True
        with run.outage():
            for role in READERS if asleep else ():
                rig.roles[role].pause()
            rig.loop.run(_make_anew(rig), 60)
            for role in READERS if asleep else ():
                rig.roles[role].kill()
                rig.roles[role].wait_ready()
            time.sleep(10)
        _require_gaps(rig, run, before)
        run.sender.forget_until_now()

    return act


async def _make_anew(rig: Rig) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=rig.settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([RAW_TOPIC])
    finally:
        await admin.close()
    await ensure_topics(rig.settings.kafka)


def _require_gaps(rig: Rig, run: Run, before: int) -> None:
    run.figures["gaps"] = _gaps(rig) - before
    run.require(run.figures["gaps"] > 0, "V: offsets vanished and log_gap says nothing")
