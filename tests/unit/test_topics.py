"""What the topics must look like, and what is told of those that do not."""

from pdm.config import KafkaSettings
from pdm.topics import TopicFound, topic_specs

PLANT = KafkaSettings(replication_factor=3, raw_partitions=12, alert_partitions=6)


def test_names_partitions_and_retention_are_the_contract() -> None:
    hours = {spec.name: int(spec.configs["retention.ms"]) / 3_600_000 for spec in topic_specs(PLANT)}

    assert hours == {"sensor-raw-data": 48, "anomaly-alerts": 14 * 24, "sensor-ground-truth": 7 * 24, "cdc-probe": 1}
    assert [spec.partitions for spec in topic_specs(PLANT)] == [12, 6, 1, 1]


def test_every_topic_has_the_brokers_clock_and_elects_no_unclean_leader() -> None:
    for spec in topic_specs(PLANT):
        assert spec.configs["message.timestamp.type"] == "LogAppendTime"
        assert spec.configs["unclean.leader.election.enable"] == "false"
        assert int(spec.configs["segment.ms"]) < int(spec.configs["retention.ms"])


def test_an_acknowledged_record_survives_one_broker_where_there_are_three() -> None:
    assert {spec.configs["min.insync.replicas"] for spec in topic_specs(PLANT)} == {"2"}
    assert {spec.configs["min.insync.replicas"] for spec in topic_specs(KafkaSettings())} == {"1"}


def test_configs_that_differ_are_to_be_set_and_partitions_are_a_persons_choice() -> None:
    spec = topic_specs(PLANT)[0]
    right = TopicFound(spec, partitions=12, replication_factor=3, configs={**spec.configs, "max.message.bytes": "1"})
    wrong = TopicFound(spec, partitions=4, replication_factor=1, leaderless=1, configs={"retention.ms": "1"})

    assert (right.wrong_configs, right.complaints) == ({}, [])
    assert wrong.wrong_configs["retention.ms"] == spec.configs["retention.ms"]
    assert len(wrong.complaints) == 3
    assert TopicFound(spec).complaints == ["missing"]
