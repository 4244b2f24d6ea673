"""No password and no key in anything that a role or a command says, whatever goes wrong."""

import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
from pydantic import BaseModel, SecretStr
from tests.roles import RunningRole, free_port, running_roles, wait_until

from pdm.config import Settings
from pdm.local.stack import LocalStack

CANARY = "canary-" + secrets.token_hex(8)
COMMANDS = (
    ("doctor", "--probe-timeout", "1"),
    ("setup", "--timeout", "5"),
    ("status",),
    ("simulate", "machine-001", "--duration", "1"),
)
PASSWORDS = {
    "PDM_HTTP__API_KEY": f"{CANARY}-key",
    "PDM_REDIS__PASSWORD": f"{CANARY}-redis",
    "PDM_MAIN_DB__OWNER_PASSWORD": f"{CANARY}-owner",
    "PDM_MAIN_DB__INGESTOR_PASSWORD": f"{CANARY}-ingestor",
    "PDM_MAIN_DB__INFERENCE_PASSWORD": f"{CANARY}-inference",
    "PDM_MAIN_DB__PORTAL_PASSWORD": f"{CANARY}-portal",
    "PDM_AI_DB__OWNER_PASSWORD": f"{CANARY}-owner",
    "PDM_AI_DB__INFERENCE_PASSWORD": f"{CANARY}-inference",
    "PDM_AI_DB__PORTAL_PASSWORD": f"{CANARY}-portal",
    "PDM_AI_DB__CDC_PASSWORD": f"{CANARY}-cdc",
}
PATHS = ("/health/live", "/health/ready", "/metrics", "/openapi.json", "/asyncapi.json", "/api/machines", "/nowhere")


def test_a_stack_that_works_tells_no_secret(local_stack: LocalStack, tmp_path: Path) -> None:
    given = {"PDM_HTTP__API_KEY": CANARY, "PDM_LOG__LEVEL": "DEBUG"}
    secret = {CANARY, *_secrets_of(local_stack.settings)}
    assert len(secret) > 5
    said = _everything_said(local_stack.environment, tmp_path, given)
    assert "as it should be" in said  # `pdm setup` got to its end
    assert [text for text in secret if text in said] == []
    logs = "".join(path.read_text() for path in (local_stack.folder.logs).glob("*.log"))
    assert [text for text in secret if text in logs] == []


def test_refused_passwords_are_not_told(local_stack: LocalStack, tmp_path: Path) -> None:
    connect_url = local_stack.settings.connect.url.replace("://", f"://someone:{CANARY}@")
    given = {**PASSWORDS, "PDM_CONNECT__URL": connect_url, "PDM_LOG__LEVEL": "DEBUG"}
    said = _everything_said(local_stack.environment, tmp_path, given)
    assert "password" in said
    assert CANARY not in said


def test_engines_that_are_away_are_named_without_their_passwords(local_stack: LocalStack, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    given = {
        **PASSWORDS,
        "PDM_LOG__LEVEL": "DEBUG",
        "PDM_KAFKA__BOOTSTRAP_SERVERS": nowhere,
        "PDM_MAIN_DB__URL": f"postgresql://someone:{CANARY}@{nowhere}/main",
        "PDM_AI_DB__URL": f"postgresql://someone:{CANARY}@{nowhere}/ai",
        "PDM_REDIS__URL": f"redis://someone:{CANARY}@{nowhere}/0",
        "PDM_CONNECT__URL": f"http://someone:{CANARY}@{nowhere}",
    }
    said = _everything_said(local_stack.environment, tmp_path, given, "doctor", "status")
    assert nowhere in said
    assert CANARY not in said


def _everything_said(environment: Mapping[str, str], folder: Path, given: Mapping[str, str], *commands: str) -> str:
    """Logs, answers and the commands' two streams, once every role has looked at its engines."""
    with running_roles(environment, folder, **given) as roles:
        said = [_answers(role, given["PDM_HTTP__API_KEY"]) for role in roles.values()]
        ports = {f"PDM_HTTP__{name.upper()}_PORT": role.url.rpartition(":")[2] for name, role in roles.items()}
        wanted = [command for command in COMMANDS if not commands or command[0] in commands]
        said += [_command({**environment, **given, **ports}, *command) for command in wanted]
    return "\n".join([*said, *(role.logged() for role in roles.values())])


def _answers(role: RunningRole, key: str) -> str:
    texts = []
    wait_until(lambda: len(role.logged()) > 0)
    with httpx.Client(base_url=role.url, timeout=20) as client:
        for path in PATHS:
            for headers in ({"X-API-Key": key}, {"X-API-Key": "wrong"}):
                answer = client.get(path, headers=headers)
                texts.append(f"{answer.headers} {answer.text}")
    return "\n".join(texts)


def _command(environment: Mapping[str, str], *args: str) -> str:
    command = [sys.executable, "-m", "pdm", "--debug", *args]
    ended = subprocess.run(command, env={**environment}, capture_output=True, text=True, timeout=120, check=False)
    return ended.stdout + ended.stderr


def _secrets_of(settings: Settings) -> set[str]:
    """Every secret that the settings hold, wherever it stands."""
    found: set[str] = set()
    waiting: list[BaseModel] = [settings]
    while waiting:
        for _, value in waiting.pop():
            if isinstance(value, BaseModel):
                waiting.append(value)
            elif isinstance(value, SecretStr):
                found.add(value.get_secret_value())
    return found
