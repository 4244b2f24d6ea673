"""How long ago, as people write it at the command line."""

import re
from datetime import UTC, datetime, timedelta

import typer

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(text: str) -> timedelta:
    """`90s`, `30m`, `24h`, `30d`. Raises BadParameter."""
    if not (match := re.fullmatch(r"(\d{1,5})([smhd])", text.strip())):
        raise typer.BadParameter(f"{text!r} is no age such as 90s, 30m, 24h or 30d")
    return timedelta(seconds=int(match[1]) * SECONDS[match[2]])


def ago(span: timedelta | None) -> datetime | None:
    return None if span is None else datetime.now(UTC) - span
