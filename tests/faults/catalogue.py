"""Every fault there is, and the rows of the table that one machine cannot show, each with its reason."""

from collections.abc import Iterator

from tests.faults import clocks, groups, kills, logs, models, mutants, networks, outages, records, relays, resources
from tests.faults.fault import Fault

LEFT_OUT = {
    "17": "a change of leader needs three brokers; one machine's stack has one",
    "18": "a restart that loses the log's tail needs a power cut; three brokers with two in sync are for that",
    "26": "the broker halts when its disk is full: the same as a kill, until somebody makes room",
    "47": "a batch is bounded to 10 s of retries, so none outlasts the five minutes; a paused process (49) is the same",
    "57": "a failover needs a standby server; the chart leaves PostgreSQL to its operator",
}


def all_faults() -> Iterator[Fault]:
    groups_of_faults = (kills, outages, networks, records, groups, logs, relays, models, resources, clocks)
    real = [fault for group in groups_of_faults for fault in group.faults()]
    yield from real
    yield from mutants.faults(real)
