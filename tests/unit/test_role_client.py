"""Problem documents and silence of a role as errors that a person can act on."""

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pdm.config import HttpSettings, Settings
from pdm.errors import Misconfigured, PdmError, Retryable
from pdm.problems import problem_response
from pdm.role_client import RoleClient

SETTINGS = Settings(http=HttpSettings(simulator_port=18001, api_key=SecretStr("the-key")))


def ask(answer: httpx.Response | Exception, **query: Any) -> tuple[Any, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call() -> Any:
        async with RoleClient(SETTINGS, "simulator", transport=httpx.MockTransport(serve)) as client:
            return await client.ask("POST", "/simulate/machine-001", **query)

    return asyncio.run(call()), requests


def problem(status: int, detail: str, **extra: str) -> httpx.Response:
    return httpx.Response(status, content=bytes(problem_response(status, detail, **extra).body))


def test_the_key_goes_along_and_absent_parameters_do_not() -> None:
    answer, (request,) = ask(httpx.Response(202, json={"state": "running"}), profile="normal", seed=None)

    assert answer == {"state": "running"}
    assert request.headers["X-API-Key"] == "the-key"
    assert str(request.url) == "http://127.0.0.1:18001/simulate/machine-001?profile=normal"


def test_a_problem_document_is_one_error_with_its_hint() -> None:
    with pytest.raises(PdmError, match="the simulator says: rate_hz 900 is too high") as raised:
        ask(problem(422, "rate_hz 900 is too high", hint="Ask for less."))
    assert raised.value.hint == "Ask for less."
    assert not isinstance(raised.value, Retryable)


@pytest.mark.parametrize("status", [429, 503])
def test_what_may_pass_is_retryable(status: int) -> None:
    with pytest.raises(Retryable):
        ask(problem(status, "later"))


def test_a_refused_key_is_for_a_person_to_mend() -> None:
    with pytest.raises(Misconfigured, match="wants an API key"):
        ask(problem(401, "This route needs the API key."))


def test_an_answer_that_is_no_problem_document_is_told_by_its_status() -> None:
    with pytest.raises(PdmError, match="the simulator says: Bad Gateway"):
        ask(httpx.Response(502, text="<html>"))


def test_silence_says_how_to_start_the_role() -> None:
    with pytest.raises(Retryable, match=r"no simulator at http://127\.0\.0\.1:18001") as raised:
        ask(httpx.ConnectError("refused"))
    assert "pdm up" in raised.value.hint
