"""Which engines a stack has, and how each is prepared. Knows the list and the order, starts nothing."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from pdm.errors import Misconfigured
from pdm.local import jars, kafka, postgres, valkey
from pdm.local.folder import DataFolder
from pdm.local.program import Place, Program

Prepare = Callable[[], Program]
VERSIONS = "versions.json"


def preparations(place: Place, class_path: "Future[list[Path]]") -> list[dict[str, Prepare]]:
    """By engine; each may take seconds. Those of one entry come one after the other, the entries all at once."""
    return [
        {"postgres-main": partial(postgres.prepare, place, "main")},
        {"postgres-ai": partial(postgres.prepare, place, "ai")},
        {"valkey": partial(valkey.prepare, place)},
        {  # Connect that waits for Kafka asks so often that it slows Kafka's start
            "kafka": lambda: kafka.prepare_broker(place, class_path.result()),
            "connect": lambda: kafka.prepare_connect(place, class_path.result()),
        },
    ]


def current_versions() -> dict[str, str]:
    """Of the engines that keep data."""
    return {
        "postgresql": postgres.engine_version(),
        "kafka": jars.version_of("kafka-clients"),
        "debezium": jars.version_of("debezium-connector-postgres"),
    }


def check_versions(folder: DataFolder) -> None:
    """Stamp the folder with today's versions. Raises Misconfigured when another major version made it."""
    current, known = current_versions(), folder.read_json(VERSIONS)
    if changed := major_changes(known, current):
        raise Misconfigured(
            f"{folder.path} was made by another version: {'; '.join(changed)}",
            hint="Use the release of pdm that made it, set PDM_DATA_DIR to a new folder, "
            "or start afresh with `pdm up --reset`, which deletes its readings and alerts.",
        )
    if known != current:
        folder.write_json(VERSIONS, current)


def major_changes(known: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Texts for a person; minor versions read each other's files."""
    return [
        f"{name} {known[name]} then, {now} now"
        for name, now in current.items()
        if name in known and known[name].split(".")[0] != now.split(".")[0]
    ]
