"""Every setting of `pdm`, one tree of small blocks. Owns where values come from; reads no engine and starts nothing.

Order of precedence: environment (`PDM_KAFKA__BOOTSTRAP_SERVERS=…`), the file of a running `pdm up`, defaults.
"""

import fcntl
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from pdm.errors import Misconfigured

RoleName = Literal["simulator", "ingestor", "inference", "portal"]
DbRole = Literal["owner", "ingestor", "inference", "portal", "cdc"]

ROLES: tuple[RoleName, ...] = ("simulator", "ingestor", "inference", "portal")
RAW_TOPIC = "sensor-raw-data"
ALERT_TOPIC = "anomaly-alerts"
TRUTH_TOPIC = "sensor-ground-truth"
PROBE_TOPIC = "cdc-probe"


def consumer_group(role: RoleName) -> str:
    return f"pdm.{role}"


def default_data_dir() -> Path:
    """Where `pdm up` keeps its engines. Root needs a folder that the PostgreSQL user can reach, so never a home."""
    if os.geteuid() == 0:
        return Path("/var/lib/pdm")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pdm"


def _checked_url(url: str) -> str:
    """Refused here, without showing it: a driver would quote what it cannot read, and a password may stand in it."""
    try:
        is_whole = not url or bool(urlsplit(url).scheme and (urlsplit(url).port or True))
    except ValueError:
        is_whole = False
    if not is_whole or not url.isprintable():
        raise ValueError("is no URL; write / ? # @ of a password as %2F %3F %23 %40")
    return url


Url = Annotated[str, AfterValidator(_checked_url)]
DatabaseUrl = Annotated[Url, Field(pattern=r"^postgres(ql)?://")]
RedisUrl = Annotated[Url, Field(pattern=r"^(rediss?|unix)://")]
HttpUrl = Annotated[Url, Field(pattern=r"^(https?://.*)?$")]


class Block(BaseModel):
    # Wrong values are never quoted: an unknown name may be a misspelt one of a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(Block):
    bootstrap_servers: str = "127.0.0.1:9092"
    replication_factor: int = Field(1, ge=1)
    raw_partitions: int = Field(4, ge=1)
    alert_partitions: int = Field(2, ge=1)
    # A stable name of this replica (a host or pod name): a restarted role then gets its partitions back at once
    # instead of after the session timeout. Two live replicas must never share one.
    instance_id: str | None = None


class DatabaseSettings(Block):
    """One server. `url` carries no credentials; each database role has its own password."""

    url: DatabaseUrl
    owner_user: str = "postgres"
    owner_password: SecretStr | None = None
    ingestor_password: SecretStr | None = None
    inference_password: SecretStr | None = None
    portal_password: SecretStr | None = None
    cdc_password: SecretStr | None = None

    def user(self, role: DbRole) -> str:
        return self.owner_user if role == "owner" else f"pdm_{role}"

    def password(self, role: DbRole) -> SecretStr | None:
        value: SecretStr | None = getattr(self, f"{role}_password")
        return value

    def conninfo(self, role: DbRole) -> str:
        """A libpq URL with the credentials of `role`. Secret: never log it."""
        parts = urlsplit(self.url)
        password = self.password(role)
        secret = f":{quote(password.get_secret_value(), safe='')}" if password else ""
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{quote(self.user(role), safe='')}{secret}@{host}"))


class MainDatabase(DatabaseSettings):
    url: DatabaseUrl = "postgresql://127.0.0.1:5432/pdm_main"


class AiDatabase(DatabaseSettings):
    url: DatabaseUrl = "postgresql://127.0.0.1:5433/pdm_ai"


class RedisSettings(Block):
    url: RedisUrl = "redis://127.0.0.1:6379/0"
    password: SecretStr | None = None


class ConnectSettings(Block):
    url: HttpUrl = "http://127.0.0.1:8083"
    connector: str = "pdm-outbox"
    heartbeat_s: float = Field(5.0, gt=0)  # the age of the relay's probe can be told no finer than this

    @property
    def address(self) -> str:
        """The URL as it may be shown: without a user and a password."""
        return without_credentials(self.url).rstrip("/")


class HttpSettings(Block):
    """Where the roles listen. Beyond loopback `api_key` is required."""

    host: str = "127.0.0.1"
    portal_port: int = 8000
    simulator_port: int = 8001
    ingestor_port: int = 8002
    inference_port: int = 8003
    api_key: SecretStr | None = None

    def port(self, role: RoleName) -> int:
        value: int = getattr(self, f"{role}_port")
        return value


class RoleBlock(Block):
    url: HttpUrl = ""  # where other processes reach this role; empty: this machine, at its port


class SimulatorSettings(RoleBlock):
    max_machines: int = Field(1_000, ge=1)
    max_rate_hz: float = Field(100.0, gt=0)


class IngestorSettings(RoleBlock):
    max_records: int = Field(10_000, ge=1)
    retention_days: int = Field(30, ge=2)  # readings up to two days late are always taken
    partitions_ahead: int = Field(7, ge=2)
    minute_retention_days: int = Field(730, ge=2)
    dead_letter_retention_days: int = Field(90, ge=1)
    dead_letter_body_mb: int = Field(256, ge=0)  # of all kept keys and values; past it a dead letter keeps no body


class InferenceSettings(RoleBlock):
    max_records: int = Field(5_000, ge=1)
    max_interval_s: float = Field(5.0, gt=0, le=600)
    model_dir: Path | None = None  # empty: `models` inside data_dir


class PortalSettings(RoleBlock):
    locale: Literal["ko", "en"] = "ko"  # language of alert lines; pages follow the reader's choice


class LocalSettings(Block):
    """The engines that `pdm up` starts on this machine."""

    maven_mirror: str = ""  # where the jars of Kafka and Debezium come from; empty: Maven Central
    start_timeout_s: float = Field(90.0, gt=0)  # of one engine, from its process to its first answer


class LogSettings(Block):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["console", "json"] = "console"


class Settings(BaseSettings):
    """All settings. Build it with `load_settings`, hand it down, never import an instance."""

    model_config = SettingsConfigDict(
        env_prefix="PDM_",
        env_nested_delimiter="__",
        extra="forbid",
        hide_input_in_errors=True,
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(default_factory=default_data_dir)
    kafka: KafkaSettings = KafkaSettings()
    main_db: MainDatabase = MainDatabase()
    ai_db: AiDatabase = AiDatabase()
    redis: RedisSettings = RedisSettings()
    connect: ConnectSettings = ConnectSettings()
    http: HttpSettings = HttpSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    ingestor: IngestorSettings = IngestorSettings()
    inference: InferenceSettings = InferenceSettings()
    portal: PortalSettings = PortalSettings()
    local: LocalSettings = LocalSettings()
    log: LogSettings = LogSettings()
    crash: str = ""  # a named point at which this process kills itself, for fault tests: see pdm.crash

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        data_dir = Path(os.environ.get("PDM_DATA_DIR") or default_data_dir())
        if not is_locked(lock_file(data_dir)):
            return init_settings, env_settings
        running = JsonConfigSettingsSource(settings_cls, json_file=running_file(data_dir))
        return init_settings, env_settings, running

    def role_url(self, role: RoleName) -> str:
        """Where another process of this installation reaches `role`."""
        block: RoleBlock = getattr(self, role)
        return block.url or f"http://127.0.0.1:{self.http.port(role)}"

    @property
    def model_dir(self) -> Path:
        return self.inference.model_dir or self.data_dir / "models"


def running_file(data_dir: Path) -> Path:
    """Addresses and passwords of the stack that `pdm up` runs on `data_dir`; true only while the lock is held."""
    return data_dir / "running.json"


def lock_file(data_dir: Path) -> Path:
    """Held with flock by a running `pdm up`: free again the moment that process is gone, however it ended."""
    return data_dir / "lock"


def is_locked(path: Path) -> bool:
    try:
        with path.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def credentials_of(url: str) -> tuple[str, str] | None:
    """User and password of Basic authentication; kept out of the address, which libraries log."""
    parts = urlsplit(url)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def load_settings() -> Settings:
    """Raises Misconfigured naming each wrong setting as the environment variable that a person would mend."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"PDM_{'__'.join(str(part) for part in item['loc']).upper()}: {item['msg']}" for item in error.errors()
        )
        raise Misconfigured(f"wrong settings: {wrong}", hint="Mend or unset these variables.") from error
    except SettingsError as error:  # it names the setting, not what stands in it, unlike its cause
        raise Misconfigured(f"wrong settings: {error}", hint="Write it as JSON, or each part by itself.") from None
