"""Training and models over HTTP. Starts the training process; never trains in this one."""

import asyncio
import sys
from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter

from pdm.inference.model_watch import ModelWatch
from pdm.problems import Problem
from pdm.store import models
from pdm.store.models import ModelRow, TrainingJob
from pdm.store.pool import Pool, transaction


class Trainer:
    """Starts training processes and keeps hold of the one it started: it ends with this process."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._waiter: asyncio.Task[int] | None = None

    async def start(self, job_id: UUID) -> None:
        command = (sys.executable, "-m", "pdm.inference.train_job", str(job_id))
        self._process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        self._waiter = asyncio.create_task(self._process.wait())

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


def training_routes(pool: Pool, trainer: Trainer, watch: ModelWatch) -> APIRouter:
    routes = APIRouter(tags=["models"])
    problems: dict[int | str, dict[str, Any]] = {404: {"description": "no such job or model"}}

    @routes.post("/train-model", status_code=202, responses={409: {"description": "a training is running already"}})
    async def train_model() -> TrainingJob:
        job_id = uuid4()
        job = await asyncio.to_thread(_queue, pool, job_id)
        await trainer.start(job_id)
        return job

    @routes.get("/train-model/{job_id}", responses=problems)
    def get_job(job_id: UUID) -> TrainingJob:
        return _find(pool, job_id)

    @routes.delete("/train-model/{job_id}", responses=problems)
    def cancel_job(job_id: UUID) -> TrainingJob:
        with transaction(pool) as conn:
            models.end_job(conn, job_id, "cancelled", "cancelled by request")
        return _find(pool, job_id)

    @routes.get("/models")
    def list_models() -> list[ModelRow]:
        with transaction(pool) as conn:
            return models.list_models(conn)

    @routes.post("/models/{version}/activate", responses=problems)
    async def activate(version: str) -> list[ModelRow]:
        await asyncio.to_thread(_activate, pool, version)
        await watch.look()
        return await asyncio.to_thread(list_models)

    return routes


def _queue(pool: Pool, job_id: UUID) -> TrainingJob:
    with transaction(pool) as conn:
        models.fail_abandoned_jobs(conn)
        if not models.queue_job(conn, job_id):
            other = models.unfinished_job(conn)
            raise Problem(409, "A training is running already.", job=str(other.id) if other else None)
        job = models.find_job(conn, job_id)
    return job or _missing(job_id)


def _find(pool: Pool, job_id: UUID) -> TrainingJob:
    with transaction(pool) as conn:
        job = models.find_job(conn, job_id)
    return job or _missing(job_id)


def _missing(job_id: UUID) -> TrainingJob:
    raise Problem(404, f"There is no training job {job_id}.")


def _activate(pool: Pool, version: str) -> None:
    with transaction(pool) as conn:
        if not models.activate_model(conn, version):
            raise Problem(404, f"There is no model {version}.")
