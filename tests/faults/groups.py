"""Consumer groups in trouble: storms, zombies, two owners of one partition, one name used twice, more partitions."""

import time
from collections.abc import Iterator

import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from pdm.config import RAW_TOPIC, RoleName
from pdm.crash import CrashPoint
from tests.faults.fault import Act, Fault
from tests.faults.kills import role_of
from tests.faults.rig import Rig, Run
from tests.faults.roles import wait_until

SESSION_S = 10.0  # a paused member is taken for dead after so long


def faults() -> Iterator[Fault]:
    for role in ("ingestor", "inference"):
        yield Fault(f"rebalance storm of {role}", ("45",), _storm(role), expected_s=110)
        yield Fault(f"{role} paused until another owns its partitions", ("49",), _zombie(role), expected_s=70)
        yield Fault(f"two {role} processes under one name", ("46",), _same_name(role), expected_s=60)
    yield Fault("portal paused until another owns its partitions", ("49",), _zombie("portal"), expected_s=70)
    for point in _ZOMBIE_POINTS:
        yield Fault(f"zombie at {point}", ("49",), _zombie_at(point), seeds=3, expected_s=60)
    yield Fault("inference paused for half a minute", ("49",), _paused, expected_s=60)
    yield Fault("partitions added under load", ("48",), _add_partitions, expected_s=110)


def _storm(role: RoleName) -> Act:
    """A member joins and leaves every few seconds."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            for _ in range(8):
                replica = rig.add_replica(role)
                time.sleep(run.rng.uniform(2.0, 5.0))
                if run.rng.random() < 0.5:
                    replica.kill()
                    time.sleep(1)
                rig.heal()

    return act


def _zombie(role: RoleName) -> Act:
    """Stopped in the middle of its work; while it is away another takes over; then it goes on as if nothing was."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            replica = rig.add_replica(role)
            replica.wait_ready()
            time.sleep(1)
            rig.roles[role].pause()
            try:
                time.sleep(SESSION_S + 8)
            finally:
                rig.roles[role].go_on()
            time.sleep(5)

    return act


_ZOMBIE_POINTS: tuple[CrashPoint, ...] = (
    "ingestor.before_db_commit",
    "ingestor.after_db_commit",
    "inference.after_step",
    "inference.before_db_commit",
    "portal.before_db_commit",
)


def _zombie_at(point: CrashPoint) -> Act:
    """Stopped at the very point, in some with a transaction open and locks held, until another has gone on for long."""
    role = role_of(point)

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.add_replica(role).wait_ready()
            times = run.rng.randint(1, 20) if point == "inference.after_step" else 1
            rig.roles[role].restart(PDM_CRASH=f"{point}:{times}:stop")
            del rig.roles[role].environment["PDM_CRASH"]
            zombie = rig.roles[role].process()
            wait_until(lambda: zombie.status() == psutil.STATUS_STOPPED, 60, f"{role} came by {point}")
            time.sleep(SESSION_S + 8)
            rig.roles[role].go_on()
            time.sleep(5)

    return act


def _paused(rig: Rig, run: Run) -> None:
    """Nobody takes over: after its return it must not act on what it held in hand without asking the database."""
    with run.outage():
        rig.roles["inference"].pause()
        try:
            time.sleep(30)
        finally:
            rig.roles["inference"].go_on()


def _same_name(role: RoleName) -> Act:
    """An operator's mistake: the second fences the first again and again."""

    def act(rig: Rig, run: Run) -> None:
        with run.outage():
            rig.add_replica(role, PDM_KAFKA__INSTANCE_ID=rig.roles[role].environment["PDM_KAFKA__INSTANCE_ID"])
            time.sleep(20)

    return act


def _add_partitions(rig: Rig, run: Run) -> None:
    """Keys move to other partitions: no reading is lost, and the means are right again once the window is over."""

    async def add() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=rig.settings.kafka.bootstrap_servers)
        await admin.start()
        try:
            (topic,) = await admin.describe_topics([RAW_TOPIC])
            await admin.create_partitions({RAW_TOPIC: NewPartitions(len(topic["partitions"]) + 1)})
        finally:
            await admin.close()

    with run.outage():
        rig.loop.run(add(), 20)
        time.sleep(15)
    time.sleep(65)  # a one-minute mean cannot know what lies in the partition that the machine was in before
