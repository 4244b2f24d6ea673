"""`/api/events` and the documents of the contracts."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from pdm.config import KafkaSettings
from pdm.contracts import asyncapi_document
from pdm.portal.feed import Feed
from pdm.problems import problem_responses

PING_S = 10  # a page takes three times this without a word for a lost connection
SEND_TIMEOUT_S = 30.0
MAX_ID_DIGITS = 19  # of PostgreSQL's bigint
_EXAMPLE = (
    'id: 41\r\nevent: alert\r\ndata: {"machine_id":"machine-001","failure_type":"Overstrain","event":"opened"}\r\n\r\n'
)
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}


def event_routes(feed: Feed, kafka: KafkaSettings) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.get(
        "/api/events",
        response_class=EventSourceResponse,
        responses={**_STREAM, **problem_responses(_422="A parameter is wrong.", _503="The database is away.")},
    )
    async def follow_events(
        after: Annotated[int | None, Query(ge=0, description="id of the last event that the page knows")] = None,
        last_event_id: Annotated[str | None, Header(description="what a browser sends when it comes back")] = None,
    ) -> EventSourceResponse:
        """Server-sent events: `alert` with an id, an alert event each; `machines` without one, live values.

        `hello` opens a stream, `ping` keeps it alive. `reset` says that events after the given id
        are gone: load the state afresh.
        """
        return EventSourceResponse(
            await feed.open(_id(last_event_id, after)),
            ping=PING_S,
            ping_message_factory=lambda: ServerSentEvent("{}", event="ping"),  # a comment would not reach the page
            send_timeout=SEND_TIMEOUT_S,
        )

    @router.get("/asyncapi.json")
    def asyncapi() -> dict[str, Any]:
        """The topics and what stands on them, as AsyncAPI 3."""
        return asyncapi_document(kafka)

    return router


def _id(header: str | None, after: int | None) -> int | None:
    """The header is newer than the address. What is no id of ours never was one: it gets `reset`."""
    if header is None:
        return after
    return int(header) if header.isascii() and header.isdecimal() and len(header) <= MAX_ID_DIGITS else -1
