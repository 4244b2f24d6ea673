"""Records as real machines and gateways send them: broken, doubled, late, out of order, by wrong clocks."""

import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from pdm.events import MAX_RECORD_BYTES, Reading, encode
from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run
from tests.faults.sender import Twist

HOUR = timedelta(hours=1)


def faults() -> Iterator[Fault]:
    yield Fault("poison among good readings", ("40",), _poison, is_quick=True)
    yield Fault("oversized records", ("41",), _oversized, expected_s=25)
    yield Fault("headers without a value", ("40",), _null_headers)
    yield Fault("one reading in twenty sent twice", ("42",), _wait(6), twist_for=_doubled, is_quick=True)
    yield Fault("the last two seconds sent again and again", ("42",), _resend_all)
    yield Fault("other values under a stored key", ("42",), _conflicting)
    yield Fault("readings out of order within ten seconds", ("43",), _wait(6), twist_for=_shuffled)
    yield Fault("readings an hour and forty days late", ("44",), _late)
    yield Fault("readings from the future", ("38",), _future)
    yield Fault("machine clocks an hour ahead", ("38",), _wait(8), clock_offset=HOUR)
    yield Fault("machine clocks an hour behind", ("38",), _wait(8), clock_offset=-HOUR)
    yield Fault("a field more and a field less", ("58",), _fields_changed)


def _wait(seconds: float) -> Act:
    def act(rig: Rig, run: Run) -> None:
        time.sleep(seconds)

    return act


def _poison(rig: Rig, run: Run) -> None:
    machine_id, before = f"{run.prefix}poison", _dead_letters(rig)
    records = _poisons(machine_id)
    for key, value in records:
        rig.loop.run(run.sender.send_raw(key, value), 10)
    time.sleep(3)
    kept = _dead_letters(rig) - before
    run.figures["dead_letters"] = kept
    run.require(kept == len(records), f"L: {kept} dead letters for {len(records)} bad records")


def _poisons(machine_id: str) -> list[tuple[bytes | None, bytes | None]]:
    """Each as bad as a record can be in its own way; the row counts in `dead_letter` must match."""
    now = datetime.now(UTC).isoformat()
    good = {"machine_id": machine_id, "timestamp": now, "torque_nm": 40.0}

    def changed(**fields: object) -> bytes:
        return msgspec.json.encode({**good, **fields})

    key = machine_id.encode()
    values: list[bytes | None] = [
        None,
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"machine_id": "' + key + b'"}',
        changed(torque_nm="42.8"),
        changed(torque_nm=None),
        changed(timestamp="2025-11-07T15:10:01"),
        changed(timestamp=12),
        changed(machine_id="../../etc/passwd"),
        changed(machine_id="a\nb"),
        changed(machine_id="x'; DROP TABLE sensor_log; --"),
        changed(machine_id="nul\0"),
        changed(product_type="X"),
        changed(channels={"a b": 1.0}),
        changed(timestamp="0001-01-01T00:00:00Z"),
        changed().replace(b"40.0", b"1e999"),
        changed().replace(b"40.0", b"NaN"),
        b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ]
    return [*((None if value else key, value) for value in values), (b"another", changed())]


def _dead_letters(rig: Rig) -> int:
    ((count,),) = rig.ask("main", "SELECT count(*) FROM dead_letter")
    return int(count)


def _oversized(rig: Rig, run: Run) -> None:
    """Larger than a reading may be is a dead letter; larger than Kafka takes is refused to the sender."""
    before = _dead_letters(rig)
    for size in (MAX_RECORD_BYTES + 1, 500_000, 900_000):
        rig.loop.run(run.sender.send_raw(None, b" " * size), 20)
    time.sleep(3)
    kept = _dead_letters(rig) - before
    run.require(kept == 3, f"L: {kept} dead letters for 3 oversized records")


def _null_headers(rig: Rig, run: Run) -> None:
    for number in range(20):
        machine_id = f"{run.prefix}header"
        reading = Reading(machine_id, datetime.now(UTC), rpm=1500.0 + number)
        headers = [("trace", None), ("not-utf-8", b"\xff")]
        rig.loop.run(run.sender.send_raw(machine_id.encode(), encode(reading), headers), 10)
    time.sleep(2)
    ((count,),) = rig.ask("main", "SELECT count(*) FROM sensor_log WHERE machine_id = %s", f"{run.prefix}header")
    run.require(count == 20, f"L: {count} of 20 readings with broken headers stored")


def _doubled(rng: random.Random) -> Twist:
    def twist(reading: Reading) -> Sequence[Reading]:
        return (reading, reading) if rng.random() < 0.05 else (reading,)

    return twist


def _shuffled(rng: random.Random) -> Twist:
    """Neighbours change places now and then; a machine at rest is given out whole."""
    held: list[Reading] = []

    def twist(reading: Reading) -> Sequence[Reading]:
        if held:
            return reading, held.pop()
        if rng.random() < 0.3:
            held.append(reading)
            return ()
        return (reading,)

    return twist


def _resend_all(rig: Rig, run: Run) -> None:
    """Whole batches again under new offsets, as a gateway does that lost its acknowledgements."""
    for _ in range(3):
        time.sleep(1)
        for reading in list(run.sender.recent):
            rig.loop.run(run.sender.send_raw(reading.machine_id.encode(), encode(reading)), 10)


def _conflicting(rig: Rig, run: Run) -> None:
    """A second device under the same id: the first value of a time wins, the other is set aside with its reason."""
    before = _dead_letters(rig)
    time.sleep(1)
    changed = [msgspec.structs.replace(reading, rpm=1499.0) for reading in list(run.sender.recent)[:30]]
    for reading in changed:
        rig.loop.run(run.sender.send_raw(reading.machine_id.encode(), encode(reading)), 10)
    time.sleep(3)
    kept = _dead_letters(rig) - before
    run.require(kept == len(changed), f"L: {kept} dead letters for {len(changed)} conflicting readings")


def _late(rig: Rig, run: Run) -> None:
    """An hour late is stored and decides nothing; forty days late has no partition left."""
    before = _dead_letters(rig)
    machine_id, now = run.sender.machines[0].machine_id, datetime.now(UTC)
    hot = Reading(machine_id, now, 300.0, 310.0, rpm=1250.0, torque_nm=85.0, tool_wear_min=5.0)
    for number in range(20):
        for age in (HOUR, timedelta(days=40)):
            reading = msgspec.structs.replace(hot, timestamp=now - age + timedelta(seconds=number))
            rig.loop.run(run.sender.send_raw(machine_id.encode(), encode(reading)), 10)
    time.sleep(3)
    kept = _dead_letters(rig) - before
    run.require(kept == 20, f"L: {kept} dead letters for 20 readings beyond every partition")


def _future(rig: Rig, run: Run) -> None:
    before = _dead_letters(rig)
    machine_id, now = f"{run.prefix}future", datetime.now(UTC)
    for number in range(20):
        reading = Reading(machine_id, now + timedelta(days=30, seconds=number), rpm=1500.0)
        rig.loop.run(run.sender.send_raw(machine_id.encode(), encode(reading)), 10)
    time.sleep(3)
    kept = _dead_letters(rig) - before
    run.require(kept == 20, f"L: {kept} dead letters for 20 readings of next month")


def _fields_changed(rig: Rig, run: Run) -> None:
    """A new gateway sends fields that we do not know: stored. One that forgets the time: set aside."""
    before, machine_id = _dead_letters(rig), f"{run.prefix}fields"
    for number in range(10):
        body = {"machine_id": machine_id, "timestamp": datetime.now(UTC).isoformat(), "rpm": 1500 + number, "new": [1]}
        rig.loop.run(run.sender.send_raw(machine_id.encode(), msgspec.json.encode(body)), 10)
        del body["timestamp"]
        rig.loop.run(run.sender.send_raw(machine_id.encode(), msgspec.json.encode(body)), 10)
    time.sleep(2)
    ((stored,),) = rig.ask("main", "SELECT count(*) FROM sensor_log WHERE machine_id = %s", machine_id)
    kept = _dead_letters(rig) - before
    run.require((stored, kept) == (10, 10), f"L: {stored} stored and {kept} set aside, of 10 and 10")
