"""`pdm run ROLE`: one role in this process, for supervisors and containers."""

import asyncio
import importlib
from typing import Annotated

import typer

from pdm.config import RoleName, load_settings


def run(role: Annotated[RoleName, typer.Argument(help="Which role to run.")]) -> None:
    """Run one role until SIGTERM. Its settings are PDM_… variables; the engines may come up later."""
    from pdm import crash
    from pdm.log import set_up_logging

    settings = load_settings()
    set_up_logging(settings.log, role)
    crash.arm(settings.crash)
    from pdm.runtime import run_role

    # By name: the ingestor's process never loads the libraries of another role.
    built = importlib.import_module(f"pdm.{role}.app").build(settings)
    asyncio.run(run_role(built, settings.http.host, settings.http.port(role)))
