"""Fit the network to readings labelled by the limits. Numbers in, numbers out: no database, no file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

import pdm
from pdm import physics
from pdm.errors import Misconfigured
from pdm.events import SENSORS
from pdm.inference.features import NAMES, Matrix, features, rule_labels
from pdm.inference.network import MODES, FailureNet, Manifest

MIN_ROWS = 200
BLOCK_S = 60  # readings of one machine within a minute resemble each other: they stay on one side of the split
VALIDATION_SHARE = 0.2
STEPS = 1_500
BATCH = 4_096
SENSOR_SIGMA = np.array([0.1, 0.1, 10.0, 0.5, 0.0])  # K, K, rpm, Nm, min: errors the net must bear

Progress = Callable[[float], None]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Sensors (n, 5), strain limits (n,), labels (n, len(MODES)), and which rows are kept for validation (n,)."""

    sensors: Matrix
    strain_limits: Matrix
    labels: Matrix
    is_validation: NDArray[np.bool_]
    sha256: str

    @property
    def all_rows(self) -> Rows:
        return np.arange(len(self.sensors))

    @property
    def training_rows(self) -> Rows:
        return np.flatnonzero(~self.is_validation)


def prepare(frame: pd.DataFrame, seed: int) -> TrainingSet:
    """Raises Misconfigured when there are too few readings."""
    if len(frame) < MIN_ROWS:
        raise Misconfigured(
            f"sensor_log holds {len(frame)} readings, training needs {MIN_ROWS}",
            hint="Let machines run for some minutes, for example `pdm simulate machine-001`.",
        )
    sensors = frame[list(SENSORS)].to_numpy(np.float64)
    limits = frame["product_type"].map(physics.strain_limit_min_nm, na_action=None).to_numpy(np.float64)
    blocks = frame["machine_id"] + frame["timestamp"].dt.floor(f"{BLOCK_S}s").astype(str)
    codes, names = pd.factorize(blocks)
    is_held = np.random.default_rng(seed).random(len(names)) < VALIDATION_SHARE
    held = is_held[codes]
    if held.all() or not held.any():  # one block only: its oldest readings validate
        held = np.arange(len(frame)) >= (1 - VALIDATION_SHARE) * len(frame)
    digest = hashlib.sha256(np.ascontiguousarray(sensors).tobytes() + limits.tobytes()).hexdigest()
    return TrainingSet(sensors, limits, rule_labels(sensors, limits), held, digest)


def fit(data: TrainingSet, rows: Rows, seed: int, on_progress: Progress, steps: int = STEPS) -> FailureNet:
    """Fit to `rows` of the data: AdamW on binary cross-entropy, no class weights, fresh sensor noise each step.

    Deterministic for a seed.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net = FailureNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=steps)
    loss_of = nn.BCEWithLogitsLoss()
    for done in range(steps):
        chosen = rng.choice(rows, min(BATCH, len(rows)), replace=False)
        noisy = data.sensors[chosen] + rng.normal(size=(len(chosen), len(SENSORS))) * SENSOR_SIGMA
        inputs = torch.from_numpy(features(noisy, data.strain_limits[chosen]).astype(np.float32))
        optimiser.zero_grad()
        loss = loss_of(net(inputs), torch.from_numpy(data.labels[chosen].astype(np.float32)))
        loss.backward()
        optimiser.step()
        schedule.step()
        if done % 50 == 0:
            on_progress(done / steps)
    return net.eval()


def describe(held_out: FailureNet, data: TrainingSet, created_at: datetime) -> Manifest:
    """The manifest. Its figures are those of `held_out`, fitted without the validation rows, on these rows."""
    held = data.is_validation
    inputs = torch.from_numpy(features(data.sensors[held], data.strain_limits[held]).astype(np.float32))
    labels = torch.from_numpy(data.labels[held].astype(np.float32))
    with torch.inference_mode():
        logits = held_out(inputs)
        log_loss = nn.functional.binary_cross_entropy_with_logits(logits, labels).item()
        brier = torch.mean((torch.sigmoid(logits) - labels) ** 2).item()
    return Manifest(
        version=f"m{created_at:%Y%m%d-%H%M%S}-{data.sha256[:6]}",
        features=list(NAMES),
        modes=list(MODES),
        created_at=created_at.isoformat(),
        rows=len(data.sensors),
        positives={mode: int(count) for mode, count in zip(MODES, data.labels.sum(axis=0), strict=True)},
        data_sha256=data.sha256,
        validation_log_loss=log_loss,
        validation_brier=brier,
        code_version=pdm.__version__,
    )
