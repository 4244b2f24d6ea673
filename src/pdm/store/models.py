"""Models and training jobs in the ai database: every replica finds the active model here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from pdm.store import locks
from pdm.store.pool import Connection


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """State of a job; `progress` runs from 0 to 1, `detail` says in words what it does or why it failed."""

    id: UUID
    state: str
    created_at: datetime
    finished_at: datetime | None
    progress: float
    detail: str
    model_version: str | None


@dataclass(frozen=True, slots=True)
class ModelRow:
    version: str
    created_at: datetime
    state: str
    manifest: dict[str, Any]


_JOB = "SELECT id, state, created_at, finished_at, progress, detail, model_version FROM training_job"


def queue_job(conn: Connection, job_id: UUID) -> bool:
    """False when another job is queued or running: one at a time."""
    sql = "INSERT INTO training_job (id, state) VALUES (%s, 'queued') ON CONFLICT DO NOTHING"
    return conn.execute(sql, [job_id]).rowcount == 1


def fail_abandoned_jobs(conn: Connection) -> int:
    """Mark jobs whose process is gone as failed. A running job holds the training lock, a queued one gets a minute."""
    if conn.execute("SELECT pg_try_advisory_xact_lock(%s)", [locks.TRAINING]).fetchone() != (True,):
        return 0
    return conn.execute(
        "UPDATE training_job SET state = 'failed', finished_at = now(), detail = 'its process ended'"
        " WHERE state = 'running' OR (state = 'queued' AND created_at < now() - interval '60 s')"
    ).rowcount


def take_training_lock(conn: Connection) -> bool:
    """Held until the connection ends."""
    return conn.execute("SELECT pg_try_advisory_lock(%s)", [locks.TRAINING]).fetchone() == (True,)


def update_job(conn: Connection, job_id: UUID, state: str, progress: float, detail: str) -> bool:
    """False when the job was ended by somebody else meanwhile: stop then."""
    return (
        conn.execute(
            "UPDATE training_job SET state = %s, progress = %s, detail = %s"
            " WHERE id = %s AND state IN ('queued', 'running')",
            [state, progress, detail, job_id],
        ).rowcount
        == 1
    )


def end_job(conn: Connection, job_id: UUID, state: str, detail: str, model_version: str | None = None) -> bool:
    """`done`, `failed` or `cancelled`; False when it had ended already."""
    return (
        conn.execute(
            "UPDATE training_job SET state = %s, detail = %s, model_version = %s, finished_at = now(),"
            " progress = CASE WHEN %s = 'done' THEN 1 ELSE progress END"
            " WHERE id = %s AND state IN ('queued', 'running')",
            [state, detail, model_version, state, job_id],
        ).rowcount
        == 1
    )


def find_job(conn: Connection, job_id: UUID) -> TrainingJob | None:
    row = conn.execute(f"{_JOB} WHERE id = %s", [job_id]).fetchone()
    return TrainingJob(*row) if row else None


def unfinished_job(conn: Connection) -> TrainingJob | None:
    row = conn.execute(f"{_JOB} WHERE state IN ('queued', 'running')").fetchone()
    return TrainingJob(*row) if row else None


def add_model(conn: Connection, version: str, manifest: dict[str, Any], weights: bytes) -> None:
    conn.execute(
        "INSERT INTO model (version, state, manifest, weights) VALUES (%s, 'candidate', %s, %s)",
        [version, Jsonb(manifest), weights],
    )


def activate_model(conn: Connection, version: str) -> bool:
    """Make `version` the one that scores; False when there is no such model."""
    if conn.execute("SELECT 1 FROM model WHERE version = %s FOR UPDATE", [version]).fetchone() is None:
        return False
    conn.execute("UPDATE model SET state = 'retired' WHERE state = 'active' AND version <> %s", [version])
    conn.execute("UPDATE model SET state = 'active' WHERE version = %s", [version])
    return True


def list_models(conn: Connection) -> list[ModelRow]:
    """Newest first."""
    rows = conn.execute("SELECT version, created_at, state, manifest FROM model ORDER BY created_at DESC LIMIT 100")
    return [ModelRow(*row) for row in rows]


def active_version(conn: Connection) -> str | None:
    row = conn.execute("SELECT version FROM model WHERE state = 'active'").fetchone()
    return row[0] if row else None


def model_file(conn: Connection, version: str) -> tuple[bytes, str]:
    """The bytes of the `*.pth` and the sha256 they had when they were stored."""
    row = conn.execute("SELECT weights, manifest ->> 'sha256' FROM model WHERE version = %s", [version]).fetchone()
    return (bytes(row[0]), row[1]) if row else (b"", "")
