"""The role wired as it runs, with every engine away: what it still says, and what it passes over."""

import asyncio

import pytest
from fastapi.testclient import TestClient
from faststream.kafka import TestKafkaBroker
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from pdm.config import ALERT_TOPIC, PROBE_TOPIC, AiDatabase, KafkaSettings, MainDatabase, RedisSettings, Settings
from pdm.portal.app import build
from pdm.runtime import Role

NOWHERE = Settings(
    kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"),
    main_db=MainDatabase(url="postgresql://127.0.0.1:1/none"),
    ai_db=AiDatabase(url="postgresql://127.0.0.1:1/none"),
    redis=RedisSettings(url="redis://127.0.0.1:1/0"),
)


def build_closed() -> Role:
    """Its pools are closed: they refuse at once, where an absent server would be waited for."""
    role = build(NOWHERE)
    assert role.close is not None
    asyncio.run(role.close())  # type: ignore[arg-type]  # an async function's call is a coroutine
    return role


@pytest.fixture(scope="module")
def role() -> Role:
    return build_closed()


@pytest.fixture(scope="module")
def client(role: Role) -> TestClient:
    return TestClient(role.http, "http://127.0.0.1", raise_server_exceptions=False)


@pytest.mark.parametrize("headers", [{"id": "no id"}, None], ids=["bad id", "no id"])
def test_an_unusable_record_is_counted_logged_with_its_place_and_passed_over(headers: dict[str, str] | None) -> None:
    before = REGISTRY.get_sample_value("pdm_alert_events_total", {"outcome": "skipped"}) or 0

    role = build_closed()

    async def story() -> None:
        async with TestKafkaBroker(role.broker) as broker:
            await broker.publish(b"no event", ALERT_TOPIC, headers=headers)

    with capture_logs() as logs:
        asyncio.run(story())
    assert REGISTRY.get_sample_value("pdm_alert_events_total", {"outcome": "skipped"}) == before + 1
    (skipped,) = [line for line in logs if line["event"] == "portal.records_skipped"]
    assert (skipped["topic"], skipped["records"]) == (ALERT_TOPIC, 1)
    assert skipped["first"][0].startswith("0/0: ")


def test_the_relays_probe_sets_its_age() -> None:
    role = build_closed()  # the gauge follows the role built last

    async def story() -> None:
        async with TestKafkaBroker(role.broker) as broker:
            await broker.publish(b"2001-01-01 00:00:00.123+00", PROBE_TOPIC)
            await broker.publish(b"no time", PROBE_TOPIC)

    asyncio.run(story())
    age_s = REGISTRY.get_sample_value("pdm_relay_probe_age_seconds")
    assert age_s is not None
    assert age_s > 24 * 365 * 24 * 3600


def test_alive_but_not_ready_and_each_reason_named(client: TestClient) -> None:
    assert client.get("/health/live").status_code == 200
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    checks = answer.json()["checks"]
    assert {name for name, check in checks.items() if not check["ok"]} == {"kafka", "ai database", "main database"}
    assert "away" in checks["feature store"]["detail"]
    assert "probe" in checks["relay"]["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/machines/no%20such/status",
        "/api/machines/machine-001%0A/logs",
        "/api/machines/machine-001/logs?from=yesterday",
        "/api/machines/machine-001/logs?from=2025-11-07T15:10:01",
        "/api/machines/machine-001/logs?limit=0",
        "/api/machines/machine-001/logs?cursor=x",
        "/api/machines?limit=1001",
        "/api/machines?cursor=%25",
        "/api/alerts?severity=bad",
        "/api/alerts?machine_id=a%20b",
        "/api/alerts/17",
        "/api/events?after=-1",
    ],
)
def test_wrong_parameters_are_problem_documents(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/api/alerts", "/api/machines", "/api/events"])
def test_an_absent_database_is_a_503_that_says_what_to_do(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 503
    assert answer.json()["hint"]


def test_the_page_says_so_in_the_readers_language(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept-Language": "en"})
    assert answer.status_code == 503
    assert "cannot be shown right now" in answer.text
    assert "현황을 불러올 수 없습니다" in client.get("/").text
    chosen = client.get("/?lang=en")
    assert 'lang="en"' in chosen.text
    assert "lang=en" in chosen.headers["set-cookie"]


def test_every_answer_forbids_what_the_pages_never_need(client: TestClient) -> None:
    for path in ("/", "/static/style.css", "/api/alerts/17", "/openapi.json", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_openapi_shows_examples_and_the_shape_of_errors(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path in (
        "/api/machines",
        "/api/machines/{machine_id}/logs",
        "/api/machines/{machine_id}/status",
        "/api/alerts",
    ):
        answers = document["paths"][path]["get"]["responses"]
        assert "example" in answers["200"]["content"]["application/json"]
        assert set(answers["422"]["content"]) == {"application/problem+json"}
        assert set(answers["503"]["content"]) == {"application/problem+json"}
    assert "text/event-stream" in document["paths"]["/api/events"]["get"]["responses"]["200"]["content"]
    assert client.get("/asyncapi.json").json()["asyncapi"].startswith("3.")
