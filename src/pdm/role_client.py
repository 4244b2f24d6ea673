"""Asking a role over HTTP, as the command line does. Problem documents and silence become errors of ours."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from pdm.config import RoleName, Settings, credentials_of, without_credentials
from pdm.errors import Misconfigured, PdmError, Retryable


class RoleClient:
    """One role's routes. Every call raises Retryable when nothing answers, PdmError with what the role said."""

    def __init__(
        self,
        settings: Settings,
        role: RoleName,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = settings.role_url(role)
        self.url = without_credentials(url)
        self._role = role
        key = settings.http.api_key
        self._http = httpx.AsyncClient(
            base_url=self.url,
            auth=credentials_of(url),
            headers={"X-API-Key": key.get_secret_value()} if key else {},
            timeout=timeout_s,
            trust_env=False,  # roles are neighbours, never behind a proxy
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(self, method: str, path: str, **query: Any) -> Any:
        """The JSON answer; parameters that are None are left out."""
        answer = await self._request(method, path, query)
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _refusal(self._role, answer)

    async def health(self) -> dict[str, Any]:
        """The document of /health/ready, ready or not."""
        document: dict[str, Any] = (await self._request("GET", "/health/ready", {})).json()
        return document

    async def _request(self, method: str, path: str, query: Mapping[str, Any]) -> httpx.Response:
        given = {name: value for name, value in query.items() if value is not None}
        try:
            return await self._http.request(method, path, params=given)
        except httpx.TransportError as error:
            hint = f"Run `pdm up`, or `pdm run {self._role}`."
            raise Retryable(f"no {self._role} at {self.url}", hint=hint) from error


def _refusal(role: RoleName, answer: httpx.Response) -> PdmError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    said, hint = problem.get("detail", answer.reason_phrase), problem.get("hint", "")
    if answer.status_code == 401:
        return Misconfigured(
            f"the {role} wants an API key", hint="Set PDM_HTTP__API_KEY to the one it was started with."
        )
    kind = Retryable if answer.status_code in (429, 503) else PdmError
    return kind(f"the {role} says: {said}", hint=hint)
