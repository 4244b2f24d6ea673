"""The training process: `python -m pdm.inference.train_job JOB_ID`, so that scoring never waits for training.

It lives no longer than its parent (whose pipe is its standard input) and stops when its job is cancelled.
"""

import os
import sys
import threading
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from pdm.config import Settings, load_settings
from pdm.errors import PdmError
from pdm.inference.network import Manifest, dump, sha256
from pdm.inference.training import describe, fit, prepare
from pdm.log import set_up_logging
from pdm.store import models
from pdm.store.pool import ANSWER_TIMEOUT_S, Connection, connect
from pdm.store.training_set import read_training_set

MAX_ROWS = 2_000_000  # 200 MB as a frame
SEED = 0

log = structlog.get_logger()


class CancelledError(PdmError):
    """The job was ended by somebody else."""


def train(settings: Settings, job_id: UUID) -> Manifest:
    """Read, fit, save, activate. Raises PdmError with what a person should know."""
    with _connected(settings) as conn:
        if not models.take_training_lock(conn):
            raise PdmError("another training is running")

        def tell(progress: float, detail: str) -> None:
            if not models.update_job(conn, job_id, "running", progress, detail):
                raise CancelledError("the job was cancelled")

        tell(0.0, "reading sensor_log")
        frame = read_training_set(settings.main_db, MAX_ROWS, lambda rows: tell(0.05, f"{rows:,} readings read"))
        data = prepare(frame, SEED)
        # Once without the validation rows, for honest figures; then on all of them: a fault seen once must not be lost.
        held_out = fit(
            data, data.training_rows, SEED, lambda done: tell(0.1 + 0.4 * done, "measuring on held-out minutes")
        )
        manifest = describe(held_out, data, datetime.now(UTC))
        net = fit(
            data, data.all_rows, SEED, lambda done: tell(0.5 + 0.45 * done, f"training on {len(frame):,} readings")
        )
        content = dump(net, manifest)
        path = save_file(settings.model_dir, manifest.version, content)
        store_model(conn, job_id, manifest, content, str(path))
    return manifest


def _connected(settings: Settings) -> AbstractContextManager[Connection]:
    return connect(settings.ai_db.conninfo("inference"), "pdm.training", answer_timeout_s=ANSWER_TIMEOUT_S)


def save_file(folder: Path, version: str, content: bytes) -> Path:
    """`<folder>/<version>.pth`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path, unfinished = folder / f"{version}.pth", folder / f".{version}.tmp"
    unfinished.write_bytes(content)
    unfinished.replace(path)
    return path


def store_model(conn: Connection, job_id: UUID, manifest: Manifest, content: bytes, path: str) -> None:
    """The model is active and its job done in one transaction."""
    with conn.transaction():
        stored = {**msgspec.to_builtins(manifest), "sha256": sha256(content)}
        models.add_model(conn, manifest.version, stored, content)
        models.activate_model(conn, manifest.version)
        if not models.end_job(conn, job_id, "done", path, manifest.version):
            raise CancelledError("the job was cancelled")


def main(job_id: UUID) -> int:
    settings = load_settings()
    set_up_logging(settings.log, "training")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        manifest = train(settings, job_id)
    except CancelledError:
        log.info("training.cancelled", job_id=str(job_id))
        return 0
    except PdmError as error:
        log.error("training.failed", job_id=str(job_id), error=str(error))
        # With the database away the job is found abandoned later.
        with suppress(PdmError), _connected(settings) as conn:
            models.end_job(conn, job_id, "failed", f"{error}. {error.hint}".strip())
        return 1
    log.info("training.done", model_version=manifest.version, rows=manifest.rows, brier=manifest.validation_brier)
    return 0


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)  # past the buffer, whose lock would make the interpreter's own end an abort
    os._exit(1)  # no clean-up to do: nothing is committed before the end


if __name__ == "__main__":
    sys.exit(main(UUID(sys.argv[1])))
