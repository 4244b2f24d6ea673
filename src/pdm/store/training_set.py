"""Readings for training, as a pandas frame. Reads only; never touches rows of verification runs."""

from collections.abc import Callable

import pandas as pd
from sqlalchemy import NullPool, create_engine, text

from pdm.config import MainDatabase
from pdm.store.pool import translated_errors

_CHUNK_ROWS = 50_000
_NEWEST = text("""
    SELECT machine_id, timestamp, air_temp_k, process_temp_k, rpm, torque_nm, tool_wear_min, product_type
    FROM sensor_log WHERE machine_id NOT LIKE 'pdm-verify-%' ORDER BY timestamp DESC LIMIT :max_rows
""")


def read_training_set(settings: MainDatabase, max_rows: int, on_rows: Callable[[int], None]) -> pd.DataFrame:
    """The newest readings, newest first; `on_rows` hears how many are read so far. Raises Retryable."""
    url = "postgresql+psycopg://" + settings.conninfo("inference").partition("://")[2]
    engine = create_engine(url, poolclass=NullPool, connect_args={"application_name": "pdm.training"})
    frames: list[pd.DataFrame] = []
    with translated_errors(), engine.connect().execution_options(stream_results=True) as connection:
        for frame in pd.read_sql_query(_NEWEST, connection, params={"max_rows": max_rows}, chunksize=_CHUNK_ROWS):
            frames.append(frame)
            on_rows(sum(map(len, frames)))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
