"""Keeps the scorer on the model that the database names as active, so that every replica swaps without a restart."""

import asyncio

import structlog

from pdm.errors import Misconfigured
from pdm.http import Health
from pdm.inference.network import load, sha256
from pdm.inference.scorer import Scorer
from pdm.store import models
from pdm.store.pool import Pool, transaction

log = structlog.get_logger()


class ModelWatch:
    """`look` loads a newly activated model. A file that cannot be used is told once; the model before stays."""

    def __init__(self, pool: Pool, scorer: Scorer) -> None:
        self._pool = pool
        self._scorer = scorer
        self._seen: str | None = None
        self._trouble = ""

    async def look(self) -> None:
        version = await asyncio.to_thread(self._active_version)
        if version is None or version == self._seen:
            return
        self._seen, self._trouble = version, ""
        try:
            await asyncio.to_thread(self._load, version)
        except Misconfigured as error:
            self._trouble = f"model {version} refused: {error}"
            log.error("inference.model_refused", model_version=version, error=str(error))
        else:
            log.info("inference.model_loaded", model_version=version)

    async def health(self) -> Health:
        """Always ok: without a model the rules guard alone, and that is said."""
        manifest = self._scorer.manifest
        using = f"model {manifest.version}" if manifest else "no model: rules alone"
        return Health(True, f"{using}; {self._trouble}" if self._trouble else using)

    def _active_version(self) -> str | None:
        with transaction(self._pool) as conn:
            return models.active_version(conn)

    def _load(self, version: str) -> None:
        with transaction(self._pool) as conn:
            content, expected = models.model_file(conn, version)
        if sha256(content) != expected:
            raise Misconfigured("its bytes are not those that were saved", hint="Train a new one.")
        net, manifest = load(content)
        if manifest.version != version:
            raise Misconfigured(f"its file says that it is {manifest.version}", hint="Train a new one.")
        self._scorer.use(net, manifest)
