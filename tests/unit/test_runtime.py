"""A background task that fails: told, counted, tried again, and never the end of the role."""

import asyncio
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from pdm import runtime
from pdm.errors import Retryable
from pdm.runtime import repeat


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "FAILED_PAUSE_S", 0.0)


def run(name: str, *outcomes: Exception | None) -> list[dict[str, object]]:
    """Turns that end as told, then the task is cancelled; returns the log."""
    turns: Iterator[Exception | None] = iter(outcomes)

    async def story() -> None:
        is_over = asyncio.Event()

        async def turn() -> None:
            try:
                outcome = next(turns)
            except StopIteration:
                is_over.set()
                await asyncio.sleep(60)
            else:
                if outcome is not None:
                    raise outcome

        task = asyncio.create_task(repeat("ingestor", name, 0, turn))
        await asyncio.wait_for(is_over.wait(), 5)
        task.cancel()

    with capture_logs() as logs:
        asyncio.run(story())
    return [dict(line) for line in logs]


def value(metric: str, name: str) -> float:
    return REGISTRY.get_sample_value(metric, {"role": "ingestor", "task": name}) or 0.0


def test_our_own_mistake_is_an_error_with_its_traceback_and_the_task_goes_on() -> None:
    mistake = ValueError("a programming error")

    logs = run("broken", mistake, mistake)

    assert [(line["event"], line["log_level"], line["exc_info"]) for line in logs] == [
        ("background.broken", "error", mistake)
    ] * 2
    assert value("pdm_background_failures_total", "broken") == 2
    assert value("pdm_background_last_success_timestamp_seconds", "broken") == 0


def test_an_engine_that_is_away_is_a_warning() -> None:
    (line,) = run("away", Retryable("PostgreSQL is away"))

    assert (line["event"], line["log_level"]) == ("background.failed", "warning")


def test_the_time_of_the_last_success_is_kept() -> None:
    run("mended", ValueError(), None)

    assert value("pdm_background_failures_total", "mended") == 1
    assert value("pdm_background_last_success_timestamp_seconds", "mended") > 1_700_000_000
