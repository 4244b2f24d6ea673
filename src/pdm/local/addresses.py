"""The settings by which other processes find a running stack. Pure: from ports and passwords to settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from pdm.config import ROLES, DatabaseSettings, Settings
from pdm.errors import Misconfigured
from pdm.local.passwords import DATABASE_ROLES
from pdm.local.ports import HOST, USUAL

NO_PROXY = ("NO_PROXY", "no_proxy")


def running_document(settings: Settings, ports: Mapping[str, int], passwords: Mapping[str, str]) -> dict[str, Any]:
    """The content of running.json: shaped as Settings, secrets in the clear."""
    return {
        "kafka": {"bootstrap_servers": f"{HOST}:{ports['kafka']}"},
        "main_db": _database(settings.main_db, "main", ports, passwords),
        "ai_db": _database(settings.ai_db, "ai", ports, passwords),
        "redis": {"url": f"redis://{HOST}:{ports['valkey']}/0", "password": passwords["valkey"]},
        "connect": {"url": f"http://{HOST}:{ports['connect']}"},
        "http": {f"{role}_port": ports[role] for role in ROLES},
    }


def located(settings: Settings, document: Mapping[str, Mapping[str, Any]]) -> Settings:
    """`settings` with the addresses and passwords of the document: what a child process will load."""
    blocks = {
        block: getattr(settings, block).model_copy(
            update={name: _secret(name, value) for name, value in values.items()}
        )
        for block, values in document.items()
    }
    return settings.model_copy(update=blocks)


def child_environment(environment: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """Leads a child to this stack, and no proxy between it and the engines of its own machine."""
    direct = {name: ",".join(filter(None, [environment.get(name), HOST, "localhost"])) for name in NO_PROXY}
    return {**environment, **direct, "PDM_DATA_DIR": str(data_dir)}


def usual_ports(settings: Settings) -> dict[str, int]:
    return {**USUAL, **{role: settings.http.port(role) for role in ROLES}}


def pinned_ports(environment: Mapping[str, str]) -> list[str]:
    """Roles whose port a person set: it wins over running.json everywhere, so the stack must use it too."""
    return [role for role in ROLES if f"PDM_HTTP__{role.upper()}_PORT" in _upper(environment)]


def refuse_foreign_addresses(environment: Mapping[str, str], document: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises Misconfigured when the environment names engines: it would win over running.json in every role."""
    ours = {f"PDM_{block}__{name}".upper() for block, values in document.items() for name in values if block != "http"}
    foreign = sorted(ours & _upper(environment))
    if foreign:
        raise Misconfigured(
            f"{', '.join(foreign)} is set, but this command brings engines of its own",
            hint="Unset it; or, to use your own engines, start the roles with `pdm run`.",
        )


def _database(
    settings: DatabaseSettings, database: str, ports: Mapping[str, int], passwords: Mapping[str, str]
) -> dict[str, Any]:
    name = urlsplit(settings.url).path
    secrets = {f"{role}_password": passwords[f"{database}-{role}"] for role in DATABASE_ROLES}
    return {"url": f"postgresql://{HOST}:{ports[f'postgres-{database}']}{name}", **secrets}


def _secret(name: str, value: Any) -> Any:
    return SecretStr(value) if name.endswith("password") else value


def _upper(environment: Mapping[str, str]) -> set[str]:
    return {name.upper() for name in environment}
