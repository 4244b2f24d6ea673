"""`pdm dlq`: dead letters listed, shown, replayed and dropped. Owns words and questions; the work is done below."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pdm.cli.age import age, ago
from pdm.cli.output import console, say
from pdm.config import load_settings
from pdm.errors import PdmError, RejectReason

if TYPE_CHECKING:
    from pdm.dead_letters import Desk, Outcome
    from pdm.store.letter_desk import Amount, Choice, Letter

DETAIL_SHOWN_CHARS = 100
SHOWN = 20

app = typer.Typer(no_args_is_help=True, help="Dead letters: list, show, replay or drop what could not be stored.")


Reason = Annotated[RejectReason | None, typer.Option(help="Only those of this reason.")]
MAX_ID = 2**63 - 1
Ids = Annotated[
    list[int] | None, typer.Argument(min=1, max=MAX_ID, metavar="[ID]...", help="Ids, as `pdm dlq list` shows them.")
]


@app.command("list")
def list_letters(
    reason: Reason = None,
    since: Annotated[
        timedelta | None, typer.Option(parser=age, metavar="AGE", help="Set aside within 90s, 30m, 24h, 7d, …")
    ] = None,
    machine: Annotated[str | None, typer.Option(help="Only those whose key or value names this machine.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows to show.")] = SHOWN,
    before: Annotated[
        int | None, typer.Option(min=1, max=MAX_ID, metavar="ID", help="The next page: ids below this one.")
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Summary and rows as JSON, without bodies.")] = False,
) -> None:
    """How many of each reason, and the newest."""
    from pdm.store.letter_desk import Choice

    choice = Choice(reason=reason, machine_id=machine, since=ago(since))
    groups, letters = _desk().look(choice, limit, before)
    following = letters[-1].id if len(letters) == limit else None
    if is_json:
        found = {"reasons": list(map(asdict, groups)), "letters": list(map(asdict, letters)), "before": following}
        say(json.dumps(found, ensure_ascii=True, default=datetime.isoformat))
        return
    if not groups:
        say("No dead letters.")
        return
    say(f"{'waiting':>9} {'replayed':>9} {'bytes':>13}  newest (UTC)         reason")
    for group in groups:
        numbers = f"{group.waiting:>9,} {group.replayed:>9,} {group.body_bytes:>13,}"
        say(f"{numbers}  {_utc(group.newest_at)}  {group.reason}")
    say("")
    say(f"{'id':>9}  set aside (UTC)      at partition/offset, reason, detail")
    for letter in letters:
        say(_line(letter))
    if following:
        say(f"Older ones: add --before {following}")


@app.command()
def show(
    letter_id: Annotated[int, typer.Argument(min=1, max=MAX_ID, metavar="ID")],
    is_raw: Annotated[
        bool, typer.Option("--raw", help="Write the value as it came, byte by byte: for a file or a pipe.")
    ] = False,
) -> None:
    """Everything about one; bytes that could steer a terminal are shown as escapes."""
    letter, key, value = _desk().read(letter_id)
    if is_raw:
        if value is None:
            raise PdmError(f"dead letter {letter_id} holds no value", hint="`pdm dlq show` without --raw tells why.")
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        return
    for name, entry in asdict(letter).items():
        text = "–" if entry is None else f"{_utc(entry)} UTC" if isinstance(entry, datetime) else str(entry)
        say(f"{name:<16}{text}")
    for name, body in (("key", key), ("value", value)):
        say(f"{name:<16}{'–' if body is None else body.decode('utf-8', 'backslashreplace')}")


@app.command()
def replay(
    ids: Ids = None,
    reason: Reason = None,
    is_all: Annotated[bool, typer.Option("--all", help="Every one that waits.")] = False,
    is_trial: Annotated[bool, typer.Option("--dry-run", help="Say what would become of them; change nothing.")] = False,
) -> None:
    """Store in sensor_log what can be stored by now. It never alarms. Safe to repeat and to stop with Ctrl-C."""
    from pdm.dead_letters import Outcome
    from pdm.store.letter_desk import Choice

    if sum((bool(ids), reason is not None, is_all)) != 1:
        raise typer.BadParameter("name ids, or --reason, or --all")
    desk = _desk()
    amount = desk.amount(Choice(ids=ids or None, reason=reason))
    choice = Choice(ids=ids or None, reason=reason, is_replayed=False)
    waiting = desk.amount(choice)
    outcome = Outcome()
    if done := amount.letters - waiting.letters:
        say(f"{_letters(done)} {'was' if done == 1 else 'were'} replayed before.")
    try:
        for part in desk.replay(choice, waiting.newest_id, is_trial=is_trial):
            outcome.add(part)
            _show_progress(outcome.letters, waiting.letters)
    finally:
        for line in _lines_of(outcome, is_trial=is_trial):
            say(line)


@app.command()
def drop(
    ids: Ids = None,
    reason: Reason = None,
    is_replayed: Annotated[bool, typer.Option("--replayed", help="Only those that were replayed.")] = False,
    older_than: Annotated[
        timedelta | None, typer.Option(parser=age, metavar="AGE", help="Only those set aside longer ago, as 30d.")
    ] = None,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete dead letters for good; of several conditions all must hold. Asks first."""
    from pdm.store.letter_desk import Choice

    if not (ids or reason or is_replayed or older_than is not None):
        raise typer.BadParameter("name ids, or --reason, --replayed or --older-than")
    choice = Choice(ids=ids or None, reason=reason, is_replayed=is_replayed or None, until=ago(older_than))
    desk = _desk()
    amount, waiting = desk.amount(choice), desk.amount(replace(choice, is_replayed=False))
    if not amount.letters:
        say("Nothing to drop: none meets all of these conditions.")
        return
    not_replayed = f", {waiting.letters:,} of them never replayed" if waiting.letters else ""
    if not is_sure:
        question = f"Drop {_letters(amount.letters)} with {amount.body_bytes:,} bytes{not_replayed}?"
        typer.confirm(question, abort=True)
    _drop(desk, choice, amount)


def _drop(desk: "Desk", choice: "Choice", amount: "Amount") -> None:
    gone = 0
    try:
        for count in desk.drop(choice, amount.newest_id):
            gone += count
            _show_progress(gone, amount.letters)
    finally:
        say(f"Dropped {_letters(gone)}.")


def _letters(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


def _lines_of(outcome: "Outcome", *, is_trial: bool) -> Iterator[str]:
    if not outcome.letters:
        yield "Nothing waits to be replayed."
        return
    yield f"{outcome.stored:>9,}  {'would be stored' if is_trial else 'stored now'}"
    yield f"{outcome.already_stored:>9,}  already stored with the same values"
    for reason, count in outcome.refused.most_common():
        yield f"{count:>9,}  stay: {reason}"
    if outcome.bodiless:
        yield f"{outcome.bodiless:>9,}  stay: cut, or kept without a body, so there is nothing to replay"


def _show_progress(done: int, wanted: int) -> None:
    """On a terminal only: a script wants the summary."""
    if console.is_terminal:
        console.print(f"{done:>9,} of {wanted:,}", end="\r" if done < wanted else "\n", markup=False)


def _line(letter: "Letter") -> str:
    place = f"{letter.kafka_partition}/{letter.kafka_offset}"
    detail = letter.detail[:DETAIL_SHOWN_CHARS] + ("…" if len(letter.detail) > DETAIL_SHOWN_CHARS else "")
    replayed = " (replayed)" if letter.replayed_at else ""
    return f"{letter.id:>9}  {_utc(letter.received_at)}  {place}  {letter.reason}{replayed}: {detail}"


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _desk() -> "Desk":
    from pdm.dead_letters import Desk

    return Desk(load_settings(), lambda: datetime.now(UTC))
