"""Writes docs/reliability.md from the JSON of the runs: `python -m tests.faults.report faults.json [kills.json …]`."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults import report_long
from tests.faults.catalogue import all_faults

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

INTRO = """# Reliability: what was broken, and what was found afterwards

Written by `python -m tests.faults.report` from the JSON of the runs named here; no figure is typed by hand.

Every fault acts on the real Kafka, Kafka Connect with Debezium, PostgreSQL and Valkey. Sixteen machines send ten
readings a second each, and each has a true fault of its own every few seconds. Then one checker, which is also
`pdm doctor --deep`, compares what Kafka acknowledged and what was truly wrong with every table, topic, notification and
feature.

| letter | what must hold |
|---|---|
| L | every acknowledged reading is in `sensor_log` once, or in `dead_letter` with its reason |
| D | nothing is stored, sent or told twice (a log line at most once more for each kill of the portal) |
| O | Kafka's committed offset never leads the database and never goes back |
| A | each true fault has one episode; each event one outbox row, one inbox entry, one notification a channel |
| F | the features in Redis equal a recomputation from the log |
| R | lag 0, everything in the inbox and everyone told within twice the outage and 30 s, without a hand |
| V | no role logged an error that nobody foresaw |

Run one by name: `make faults ONLY='kill kafka' SEED=2`. `python -m tests.faults --list` names them all.
"""


def main(paths: Sequence[str]) -> None:
    documents = [json.loads(Path(path).read_text()) for path in paths]
    one_by_one = [document for document in documents if "kind" not in document]
    lines = [INTRO, *(_faults(_joined(one_by_one), len(one_by_one)) if one_by_one else ())]
    for document in documents:
        if "kind" in document:
            lines += RENDER[document["kind"]](document)
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


def _machine(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    return f"{machine['cpus']} cores, {machine['system'].split('-with-')[0]}, Python {machine['python']}"


def _joined(documents: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """One document of several runs; of a fault and seed that ran more than once, the last is told."""
    newest = {(result["name"], result["seed"]): result for document in documents for result in document["results"]}
    return {
        **documents[-1],
        "seconds": sum(document["seconds"] for document in documents),
        "results": list(newest.values()),
    }


def _faults(document: Mapping[str, Any], run_count: int) -> Iterator[str]:
    results = document["results"]
    failed = [result for result in results if result["findings"]]
    yield "## Faults, one by one\n"
    yield f"`make faults`: {len(results) - len(failed)} passed, {len(failed)} failed, in"
    yield f"{document['seconds'] / 60:.0f} minutes and {run_count} runs ({_machine(document)})."
    untried = sorted({fault.name for fault in all_faults()} - {result["name"] for result in results})
    yield f"Not in these runs: {', '.join(untried) or 'none'}.\n"
    real = [result for result in results if result["rows"] != ["variant"]]
    yield "| row | fault | seeds | longest outage s | settled after s | result |\n|---|---|---|---|---|---|"
    for name, runs in _by_name(real).items():
        outage = max(run["figures"].get("outage_s", 0) for run in runs)
        settled = [run["figures"]["recovered_s"] for run in runs if "recovered_s" in run["figures"]]
        spread = (
            f"{min(settled):.0f}" + (f"-{max(settled):.0f}" if max(settled) - min(settled) >= 1 else "")
            if settled
            else ""
        )
        wrong = [finding for run in runs for finding in run["findings"]]
        yield f"| {', '.join(runs[0]['rows'])} | {name} | {len(runs)} | {outage:.0f} | {spread} | {_verdict(wrong)} |"
    yield "\nRows that one machine cannot show:\n"
    for row, why in document["left_out"].items():
        yield f"* {row}: {why}."
    yield "\n## Broken on purpose\n"
    yield "Each is `pdm` with one safeguard taken out of its source. A suite that lets one pass would prove nothing.\n"
    yield "| variant | found out by |\n|---|---|"
    for result in results:
        if result["rows"] == ["variant"]:
            found = result["figures"].get("found_out_by") or ["nothing"]
            yield f"| {result['name'].removeprefix('broken variant: ')} | {_short(found[0])} |"
    yield ""


def _by_name(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    named: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for result in sorted(results, key=lambda result: (_first_row(result), result["name"])):
        named[result["name"]].append(result)
    return named


def _first_row(result: Mapping[str, Any]) -> int:
    return int(result["rows"][0])


def _verdict(findings: Sequence[str]) -> str:
    return f"**failed**: {_short(findings[0])}" if findings else "holds"


def _short(text: str) -> str:
    return text.replace("|", "\\|")[:140]


RENDER = {
    "kills": report_long.kills,
    "soak": report_long.soak,
    "idle": report_long.idle,
}


if __name__ == "__main__":
    main(sys.argv[1:])
