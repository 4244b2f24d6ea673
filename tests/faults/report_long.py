"""The long runs' part of docs/reliability.md, from their JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]


def kills(document: Document) -> Iterator[str]:
    seen, minutes = document["figures"], document["seconds"] / 60
    yield f"## {seen['kills']} kills\n"
    yield f"`make faults KILLS={seen['kills']}`: {seen['kills']} times `kill -9` at random moments of one run of"
    yield f"{seen['acknowledged']:,} acknowledged readings and {seen['episodes']:,} episodes, {minutes:.0f} minutes,"
    yield f"seed {document['seed']}. Somebody was down for {seen['outages_s']:.0f} s in all, at most"
    yield f"{seen['longest_outage_s']:.0f} s on end. {_settled(document)}\n"
    yield "| killed | times | back after s, median | at most |\n|---|---|---|---|"
    for victim, spread in seen["victims"].items():
        yield f"| {victim} | {spread['kills']} | {spread['back_s_median']} | {spread['back_s_max']} |"
    yield ""


def soak(document: Document) -> Iterator[str]:
    seen = document["figures"]
    yield "## Soak\n"
    held = seen["calibration"]["held"]
    yield f"`make soak`: {document['name']}, seed {document['seed']}. This machine held"
    yield f"{held['rate_hz']:,.0f} readings a second for {held['seconds']:.0f} s at lag 0; half of that was sent,"
    yield f"{seen['flood_acknowledged']:,} readings, under {len(seen['faults'])} faults. {_settled(document)}\n"
    yield "| role | resident memory, last quarter / second | own memory | descriptors |\n|---|---|---|---|"
    ratios = {(growth["role"], growth["value"]): growth["ratio"] for growth in seen["usage"]}
    for role in sorted({role for role, _ in ratios}):
        cells = (_ratio(ratios[role, value]) for value in ("rss", "own memory", "descriptors"))
        yield f"| {role} | {' | '.join(cells)} |"
    yield ""
    yield from _slots(document)


def idle(document: Document) -> Iterator[str]:
    seen = document["figures"]
    yield "## Idle outbox beside the full load\n"
    yield f"`make soak IDLE=…`: {document['name']}, {seen['calibration']['held']['rate_hz']:,.0f} readings a second,"
    yield f"{seen['flood_acknowledged']:,} in all. {_settled(document)}\n"
    yield from _slots(document)


def _slots(document: Document) -> Iterator[str]:
    yield "| outbox | slot behind at most MiB | WAL held at most MiB |\n|---|---|---|"
    for server, seen in document["figures"]["slots"].items():
        yield f"| {server} | {seen['max_behind_mib']} | {seen['max_held_mib']} |"
    yield ""


def _settled(document: Document) -> str:
    if document["findings"]:
        return f"**Failed**: {document['findings'][0][:140]}"
    recovered = document["figures"].get("recovered_s")
    after = f" {recovered} s after the last fault" if recovered is not None else ""
    return f"Nothing lost, nothing doubled, one alert an episode, everything settled{after}."


def _ratio(value: float | None) -> str:
    return "not comparable" if value is None else f"{value:.3f}"
