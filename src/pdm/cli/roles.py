"""The roles as the command line meets them: waited for, and told where they are."""

import asyncio
import time
from collections.abc import Callable

from pdm.config import ROLES, RoleName, Settings
from pdm.errors import PdmError, Retryable
from pdm.role_client import RoleClient

POLL_S = 0.2


async def wait_for_roles(settings: Settings, on_ready: Callable[[RoleName, float], None], timeout_s: float) -> None:
    """Tell each role that has become ready, with its seconds. Raises Retryable naming those that have not."""
    began = time.monotonic()

    async def wait_for(role: RoleName) -> str:
        async with RoleClient(settings, role, timeout_s=5.0) as client:
            while trouble := await _trouble(client):
                if time.monotonic() - began > timeout_s:
                    return f"{role}: {trouble}"
                await asyncio.sleep(POLL_S)
        on_ready(role, time.monotonic() - began)
        return ""

    if late := [said for said in await asyncio.gather(*map(wait_for, ROLES)) if said]:
        raise Retryable(f"not ready within {timeout_s:.0f} s: {'; '.join(late)}", hint="`pdm doctor` tells more.")


async def _trouble(client: RoleClient) -> str:
    """Why the role cannot work now; empty when it can."""
    try:
        health = await client.health()
    except PdmError as error:
        return str(error)
    return "; ".join(f"{name}: {check['detail']}" for name, check in health["checks"].items() if not check["ok"])
