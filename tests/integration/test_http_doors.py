"""Every HTTP role, a process each on real engines, asked whatever its OpenAPI document allows and forbids.

No answer is a server error, and each is one that the document describes: its status, its type, its body.
"""

import asyncio
import base64
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
import pytest
import requests
import schemathesis
from aiokafka import AIOKafkaProducer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from tests.desk import Desk, episode
from tests.hostile import HOSTILE, LOG_LINE, STORABLE
from tests.records import reading_json
from tests.roles import RunningRole, running_roles, wait_until

from pdm.config import ALERT_TOPIC, RAW_TOPIC, ROLES, RoleName, Settings
from pdm.local.stack import LocalStack
from pdm.store.pool import connect

KEY = "key-" + secrets.token_hex(8)
EXAMPLES = 12  # of what is right and as many of what is wrong, each route
COVERAGE = 40  # boundary values, each route
ENDLESS = "/api/events"
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def roles(local_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[RoleName, RunningRole]]:
    folder = tmp_path_factory.mktemp("roles")
    given = {"PDM_HTTP__API_KEY": KEY, "PDM_SIMULATOR__MAX_MACHINES": "5"}
    with running_roles(local_stack.environment, folder, **given) as running:
        yield running
        httpx.delete(f"{running['simulator'].url}/simulations", headers={"X-API-Key": KEY})


@pytest.mark.parametrize("name", ROLES)
def test_a_role_answers_as_its_document_says(roles: dict[RoleName, RunningRole], name: RoleName) -> None:
    role = roles[name]
    document = httpx.get(f"{role.url}/openapi.json", headers={"X-API-Key": KEY}).json()
    document["paths"].pop(ENDLESS, None)
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig(seed=1))
    schema.config.update(base_url=role.url)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    assert operations
    with requests.Session() as session:
        session.headers["X-API-Key"] = KEY
        for operation in operations:
            _ask_everything(operation, session)
    assert "Traceback" not in role.logged()


def _ask_everything(operation: Any, session: requests.Session) -> None:
    def ask(case: Any) -> None:
        case.validate_response(case.call(session=session, timeout=10), checks=CHECKS)

    schema = operation.schema
    boundary = schema.iter_coverage_cases(
        operation=operation,
        generation_modes=list(GenerationMode),
        generation_config=schema.config.generation_for(operation=operation),
    )
    for case in islice(boundary, COVERAGE):
        ask(case)
    for mode in GenerationMode:
        bounded = settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        with suppress(Unsatisfiable):  # a route without parameters cannot be asked wrongly
            bounded(given(operation.as_strategy(generation_mode=mode))(ask))()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("machine_id", HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_text_in_every_path_and_query(roles: dict[RoleName, RunningRole], machine_id: str) -> None:
    with httpx.Client(headers={"X-API-Key": KEY}, timeout=10) as client:
        for role in roles.values():
            for method, path in _everywhere(client, role, machine_id):
                answer = client.request(method, role.url + path)
                assert answer.status_code < 500, f"{method} {path}: {answer.text}"
                if answer.is_redirect:  # an empty text leaves a slash too many
                    continue
                assert answer.headers["content-type"] in ("application/json", "application/problem+json")
                assert "Traceback" not in answer.text


def _everywhere(client: httpx.Client, role: RunningRole, text: str) -> Iterator[tuple[str, str]]:
    """Each route with `text` in place of each parameter of its path, and then of each of its query."""
    quoted = quote(text, safe="")
    for path, methods in client.get(f"{role.url}/openapi.json").json()["paths"].items():
        for method, route in methods.items():
            if "{" in path:
                yield method, re.sub(r"\{\w+\}", lambda _: quoted, path)
            named = re.sub(r"\{\w+\}", "machine-001", path)
            for parameter in route.get("parameters", ()):
                if parameter["in"] == "query":
                    yield method, f"{named}?{parameter['name']}={quoted}"


@pytest.mark.parametrize(
    ("path", "cursor"),
    [
        ("/api/machines", ["machine\0"]),
        ("/api/machines/machine-001/logs?to=2026-01-01T00:00:00Z", ["2026-01-01T00:00:00"]),
        ("/api/alerts", ["2026-01-01T00:00:00", str(uuid4())]),
        ("/api/alerts", ["2026-01-01T00:00:00Z", "17"]),
    ],
)
def test_a_hand_made_cursor_is_refused(roles: dict[RoleName, RunningRole], path: str, cursor: list[str]) -> None:
    made = base64.urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")
    answer = httpx.get(f"{roles['portal'].url}{path}", params={"cursor": made}, headers={"X-API-Key": KEY})
    assert (answer.status_code, answer.json()["detail"]) == (422, "This cursor is not one of this list.")


@pytest.mark.parametrize("last_id", ["9" * 19, "9" * 5_000, "-1", "1e3", "١٢", "a\u00ff"])
def test_a_last_event_id_that_was_none_opens_a_stream(roles: dict[RoleName, RunningRole], last_id: str) -> None:
    headers = {b"X-API-Key": KEY.encode(), b"Last-Event-ID": last_id.encode()}
    with httpx.stream("GET", f"{roles['portal'].url}/api/events", headers=headers, timeout=10) as stream:
        assert stream.status_code == 200
        assert not {"event: reset", "event: hello"}.isdisjoint(islice(stream.iter_lines(), 3))  # hello: an empty log


def test_hostile_records_are_set_aside_and_the_roles_go_on(
    roles: dict[RoleName, RunningRole], local_stack: LocalStack
) -> None:
    first, last = asyncio.run(_send_hostile_records(local_stack.settings))
    wanted = {"bad_machine_id": len(HOSTILE), "key_mismatch": len(HOSTILE)}
    wait_until(lambda: _letters(local_stack.settings, first, last) == wanted)
    wait_until(lambda: _skipped(roles["portal"].logged()) >= len(HOSTILE))
    for role in roles.values():
        assert httpx.get(f"{role.url}/health/live").status_code == 200


def test_hostile_reasons_are_text_on_the_page(roles: dict[RoleName, RunningRole], local_stack: LocalStack) -> None:
    machine_id = f"machine-{secrets.token_hex(4)}"
    detected = episode("opened", machine_id=machine_id, reasons=list(STORABLE.values()))
    Desk(local_stack.settings, None).detect(detected)  # type: ignore[arg-type]  # it needs no pool for this
    page = httpx.get(roles["portal"].url, params={"lang": "en"}, headers={"X-API-Key": KEY})
    assert machine_id in page.text
    assert "&lt;script&gt;alert" in page.text
    assert "<script>alert" not in page.text
    assert 'onmouseover="alert' not in page.text


@pytest.mark.parametrize("name", ["terminal", "log line", "path", "rich markup"])
def test_hostile_arguments_are_refused_in_one_line(
    roles: dict[RoleName, RunningRole], local_stack: LocalStack, name: str
) -> None:
    port = roles["simulator"].url.rpartition(":")[2]
    environment = {**local_stack.environment, "PDM_HTTP__API_KEY": KEY, "PDM_HTTP__SIMULATOR_PORT": port}
    command = [sys.executable, "-m", "pdm", "simulate", HOSTILE[name]]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: the simulator says: ")
    assert ended.stderr[:-1].isprintable()


def test_whatever_was_asked_wrote_no_line_of_its_own_and_no_trace(roles: dict[RoleName, RunningRole]) -> None:
    with httpx.Client(headers={"X-API-Key": KEY}, timeout=10) as client:
        for role in roles.values():
            for method, path in _everywhere(client, role, HOSTILE["log line"]):
                client.request(method, role.url + path)
    for role in roles.values():
        strange = [line for line in role.logged().split("\n")[:-1] if not re.match(LOG_LINE, line)]
        assert strange == [], role.name


async def _send_hostile_records(stack: Settings) -> tuple[int, int]:
    """Each text as a machine, as a key, and as the machine of an alert; the first and last offset of partition 0."""
    alert = msgspec.to_builtins(episode("opened")[0].event)
    headers = [("id", str(uuid4()).encode())]
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers) as producer:
        offsets = []
        for text in HOSTILE.values():
            for key, value in ((None, reading_json(text)), (text.encode(), reading_json())):
                sent = await producer.send_and_wait(RAW_TOPIC, value, key=key, partition=0)
                offsets.append(sent.offset)
            event = msgspec.json.encode({**alert, "machine_id": text})
            await producer.send_and_wait(ALERT_TOPIC, event, headers=headers)
    return offsets[0], offsets[-1]


def _skipped(logged: str) -> int:
    """Each line tells of one batch."""
    lines = [line for line in logged.splitlines() if "portal.records_skipped" in line]
    return sum(int(count) for line in lines for count in re.findall(r" records=(\d+) ", line))


def _letters(stack: Settings, first: int, last: int) -> dict[str, int]:
    with connect(stack.main_db.conninfo("owner"), "test") as conn:
        rows = conn.execute(
            "SELECT reason, count(*) FROM dead_letter"
            " WHERE kafka_partition = 0 AND kafka_offset BETWEEN %s AND %s GROUP BY reason",
            [first, last],
        )
        return dict(rows.fetchall())
