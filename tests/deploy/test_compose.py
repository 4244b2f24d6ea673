"""The image's recipe and the compose file, read by hadolint and by Compose itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.settings_known import is_known

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
ROLES = ("simulator", "ingestor", "inference", "portal")
PASSWORDS = {
    "simulator": set(),
    "ingestor": {"PDM_MAIN_DB__INGESTOR_PASSWORD"},
    "inference": {"PDM_AI_DB__INFERENCE_PASSWORD", "PDM_MAIN_DB__INFERENCE_PASSWORD", "PDM_REDIS__PASSWORD"},
    "portal": {"PDM_AI_DB__PORTAL_PASSWORD", "PDM_MAIN_DB__PORTAL_PASSWORD", "PDM_REDIS__PASSWORD"},
}


def compose(env_file: Path) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PDM_")}
    command = [
        str(BIN / "docker-compose"),
        f"--env-file={env_file}",
        f"--file={DEPLOY / 'compose.yaml'}",
        "config",
        "--format=json",
    ]
    return subprocess.run(command, env=inherited, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    secrets = tmp_path_factory.mktemp("compose") / ".env"
    secrets.write_text((DEPLOY / ".env.example").read_text().replace("=\n", "=given\n"))
    ended = compose(secrets)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, Any]] = json.loads(ended.stdout)["services"]
    return found


def test_the_recipe_of_the_image_is_clean() -> None:
    ended = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert ended.stdout + ended.stderr == ""
    assert ended.returncode == 0


def test_the_real_engines_and_the_four_roles_are_there(services: dict[str, dict[str, Any]]) -> None:
    engines = {"kafka", "connect", "postgres-main", "postgres-ai", "valkey"}
    assert services.keys() == engines | {"setup", *ROLES}
    assert all("healthcheck" in services[name] for name in engines | {*ROLES})
    assert "wal_level=logical" in services["postgres-ai"]["command"]


def test_without_secrets_it_says_what_to_run() -> None:
    ended = compose(DEPLOY / ".env.example")
    assert ended.returncode != 0
    assert "make compose-env" in ended.stderr


def test_nothing_is_published_beyond_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == len(ROLES)
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_every_setting_named_exists_and_every_password_is_the_roles_own(services: dict[str, dict[str, Any]]) -> None:
    for name in (*ROLES, "setup"):
        variables = services[name]["environment"].keys()
        assert {variable for variable in variables if not is_known(variable)} == set()
        if name in ROLES:
            assert {variable for variable in variables if variable.endswith("_PASSWORD")} == PASSWORDS[name]
            assert services[name]["environment"]["PDM_HTTP__API_KEY"]


def test_everything_runs_with_the_least_rights(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(services[name]["read_only"] for name in (*ROLES, "setup"))
