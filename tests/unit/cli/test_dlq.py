"""What `pdm dlq` takes, and what it says before it looks anywhere."""

import re
from datetime import timedelta

import pytest
import typer
from typer.testing import CliRunner

import pdm.cli
from pdm.cli.age import age


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("30d", timedelta(days=30)),
    ],
)
def test_an_age_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert age(text) == span


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "1w", "999999d", "1d 2h"])
def test_anything_else_is_no_age(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no age such as"):
        age(text)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["replay"], "name ids, or --reason, or --all"),
        (["replay", "1", "--all"], "name ids, or --reason, or --all"),
        (["drop"], "name ids, or --reason, --replayed or --older-than"),
        (["drop", "--older-than", "soon"], "is no age such as"),
        (["list", "--reason", "bogus"], "invalid_json"),
        (["show", "0"], "greater than or equal to 1"),
        (["show", "9" * 30], "less than or equal to"),
    ],
)
def test_a_wrong_call_says_what_is_wanted(args: list[str], said: str) -> None:
    result = CliRunner().invoke(pdm.cli.app, ["dlq", *args])

    assert result.exit_code == 2
    assert said in re.sub(r"[\s│]+", " ", result.output)
