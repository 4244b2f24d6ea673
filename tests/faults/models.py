"""Models that must not be used: the one before, or the rules alone, go on, and health says why."""

import io
import pickle
import time
from collections.abc import Iterator

import httpx
import psycopg
from psycopg.types.json import Jsonb

from tests.faults.fault import Act, Fault
from tests.faults.rig import Rig, Run


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/pdm-faults-pickle-ran",)


def faults() -> Iterator[Fault]:
    for what, content in (
        ("truncated", b"PK\x03\x04 half a file"),
        ("empty", b""),
        ("a pickle that runs code", _pickle()),
    ):
        yield Fault(f"active model is {what}", ("60",), _broken_model(content), is_quick=what == "truncated")


def _pickle() -> bytes:
    buffer = io.BytesIO()
    pickle.dump(_Bomb(), buffer)
    return buffer.getvalue()


def _broken_model(content: bytes) -> Act:
    """Put into the table past every check of ours, hash and all."""

    def act(rig: Rig, run: Run) -> None:
        import hashlib

        version = f"broken-{run.rng.getrandbits(32):08x}"
        manifest = Jsonb({"sha256": hashlib.sha256(content).hexdigest(), "version": version})
        with psycopg.connect(rig.settings.ai_db.conninfo("owner"), autocommit=True) as conn:
            with conn.transaction():
                conn.execute("UPDATE model SET state = 'retired' WHERE state = 'active'")
                conn.execute(
                    "INSERT INTO model (version, state, manifest, weights) VALUES (%s, 'active', %s, %s)",
                    [version, manifest, content],
                )
            time.sleep(6)
            told = httpx.get(f"http://127.0.0.1:{rig.roles['inference'].port}/health/ready", trust_env=False).json()
            run.require(f"{version} refused" in told["checks"]["model"]["detail"], f"health says nothing of it: {told}")
            conn.execute("DELETE FROM model WHERE version = %s", [version])

    return act
