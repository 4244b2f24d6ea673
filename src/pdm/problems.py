"""Problem documents (RFC 9457): what every role answers to a caller when something is wrong. Decides nothing."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from pdm.errors import PdmError

PROBLEM_SCHEMA: Mapping[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457 problem document",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "example": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "what to do about it"},
    },
}


class Problem(PdmError):
    """An error for the caller of a route, sent as an RFC 9457 problem document. `extra` adds members to it."""

    def __init__(self, status: int, detail: str, *, hint: str = "", **extra: Any) -> None:
        super().__init__(detail, hint=hint)
        self.status = status
        self.extra = extra

    def response(self) -> JSONResponse:
        hint = {"hint": self.hint} if self.hint else {}
        return problem_response(self.status, str(self), **hint, **self.extra)


class _ProblemJson(JSONResponse):
    """A caller's own text may stand in a problem, and JSON lets a lone surrogate in, which UTF-8 cannot say."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        return super().render(_speakable(content))


def problem_response(status: int, detail: str, **extra: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **extra}
    return _ProblemJson(body, status)


def problem_responses(**statuses: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` of a route, such as `problem_responses(_404="No such machine.")`."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {int(name[1:]): {"description": text, "content": content} for name, text in statuses.items()}


def _speakable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _speakable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_speakable(item) for item in value]
    return value
