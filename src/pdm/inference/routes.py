"""Training and models over HTTP. Starts the training process; never trains in this one."""

import asyncio
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter
from pydantic import BaseModel

from pdm.http import Problem
from pdm.inference.model_watch import ModelWatch
from pdm.store import models
from pdm.store.pool import Pool, transaction

log = structlog.get_logger()


class Job(BaseModel):
    """A training job. `detail` tells what it does now, where the model's file is, or why it failed."""

    id: UUID
    state: str
    created_at: datetime
    finished_at: datetime | None
    progress: float
    detail: str
    model_version: str | None


class Model(BaseModel):
    version: str
    created_at: datetime
    state: str
    manifest: dict[str, Any]


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
    async def train_model() -> Job:
        job_id = uuid4()
        job = await asyncio.to_thread(_queue, pool, job_id)
        await trainer.start(job_id)
        return job

    @routes.get("/train-model/{job_id}", responses=problems)
    def get_job(job_id: UUID) -> Job:
        return _find(pool, job_id)

    @routes.delete("/train-model/{job_id}", responses=problems)
    def cancel_job(job_id: UUID) -> Job:
        with transaction(pool) as conn:
            models.end_job(conn, job_id, "cancelled", "cancelled by request")
        return _find(pool, job_id)

    @routes.get("/models")
    def list_models() -> list[Model]:
        with transaction(pool) as conn:
            return [Model(**asdict(row)) for row in models.list_models(conn)]

    @routes.post("/models/{version}/activate", responses=problems)
    async def activate(version: str) -> list[Model]:
        await asyncio.to_thread(_activate, pool, version)
        await watch.look()
        return await asyncio.to_thread(list_models)

    return routes


def _queue(pool: Pool, job_id: UUID) -> Job:
    with transaction(pool) as conn:
        models.fail_abandoned_jobs(conn)
        if not models.queue_job(conn, job_id):
            other = models.unfinished_job(conn)
            raise Problem(409, "A training is running already.", job=str(other.id) if other else None)
        job = models.find_job(conn, job_id)
    return Job(**asdict(job)) if job else _missing(job_id)


def _find(pool: Pool, job_id: UUID) -> Job:
    with transaction(pool) as conn:
        job = models.find_job(conn, job_id)
    return Job(**asdict(job)) if job else _missing(job_id)


def _missing(job_id: UUID) -> Job:
    raise Problem(404, f"There is no training job {job_id}.")


def _activate(pool: Pool, version: str) -> None:
    with transaction(pool) as conn:
        if not models.activate_model(conn, version):
            raise Problem(404, f"There is no model {version}.")
