"""The model's file is safe to load, the fit learns the limits, and scoring is the same one by one or in a batch."""

import io
import os
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch

from pdm.errors import Misconfigured
from pdm.events import SENSORS, Reading
from pdm.inference.features import NAMES, columns, features
from pdm.inference.network import MODES, FailureNet, dump, load
from pdm.inference.scorer import Scorer
from pdm.inference.training import describe, fit, prepare

from .conftest import CALM, HOT, OVERLOAD, START, WEAK, make_reading

CREATED = datetime(2026, 1, 5, tzinfo=UTC)


def plant(rows: int, seed: int = 3) -> pd.DataFrame:
    """Readings of four machines, about a fifth of them violating a limit."""
    rng = np.random.default_rng(seed)
    torque = rng.uniform(8, 85, rows)
    air = rng.normal(300, 2, rows)
    values = np.column_stack(
        [air, air + rng.normal(9.5, 1, rows), 1000 + 20_000 / torque, torque, rng.uniform(0, 200, rows)]
    )
    frame = pd.DataFrame(values, columns=list(SENSORS))
    frame["machine_id"] = [f"machine-{i % 4}" for i in range(rows)]
    frame["timestamp"] = pd.date_range(CREATED, periods=rows, freq="s")
    frame["product_type"] = rng.choice(np.array(["L", "M", None], dtype=object), rows)
    return frame


@pytest.fixture(scope="module")
def trained() -> tuple[FailureNet, bytes]:
    data = prepare(plant(3_000), seed=0)
    net = fit(data, data.training_rows, 0, lambda _: None, steps=250)
    return net, dump(net, describe(net, data, CREATED))


def scorer_of(content: bytes) -> Scorer:
    scorer = Scorer()
    scorer.use(*load(content))
    return scorer


def test_the_fit_learns_the_limits(trained: tuple[FailureNet, bytes]) -> None:
    scorer = scorer_of(trained[1])
    calm, hot, overload, weak = (
        score for score in scorer.score([make_reading(v) for v in (CALM, HOT, OVERLOAD, WEAK)]) if score
    )
    assert calm.failure < 0.2 < 0.8 < min(hot.failure, overload.failure, weak.failure)
    assert (hot.top_mode, weak.top_mode) == ("HeatDissipation", "Power")


def test_a_batch_scores_like_its_readings_one_by_one(trained: tuple[FailureNet, bytes]) -> None:
    scorer = scorer_of(trained[1])
    readings = [make_reading(values) for values in (CALM, HOT, WEAK, {**CALM, "rpm": None})]
    batch = [score.failure for score in scorer.score(readings) if score]
    single = [score.failure for reading in readings for score in scorer.score([reading]) if score]
    assert batch == pytest.approx(single, abs=1e-6)


def test_the_same_seed_fits_the_same_weights() -> None:
    data = prepare(plant(500), seed=0)
    one, two = (fit(data, data.all_rows, 7, lambda _: None, steps=10).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_manifest_tells_rows_positives_and_held_out_figures(trained: tuple[FailureNet, bytes]) -> None:
    _, manifest = load(trained[1])
    assert manifest.rows == 3_000
    assert all(manifest.positives[mode] > 50 for mode in MODES)
    assert 0 < manifest.validation_brier < 0.05


def test_the_file_opens_with_weights_only(trained: tuple[FailureNet, bytes]) -> None:
    stored = torch.load(io.BytesIO(trained[1]), weights_only=True)
    assert set(stored) == {"manifest", "state_dict"}


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_file_is_refused(trained: tuple[FailureNet, bytes], damage: str) -> None:
    content = trained[1]
    broken = {"truncated": content[: len(content) // 2], "empty": b"", "flipped": b"\x00" * 64 + content[64:]}[damage]
    with pytest.raises(Misconfigured):
        load(broken)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch owned",)


def test_a_file_that_would_run_code_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"manifest": Hostile(), "state_dict": {}}, buffer)
    with pytest.raises(Misconfigured):
        load(buffer.getvalue())


def test_a_model_of_other_features_is_refused(trained: tuple[FailureNet, bytes]) -> None:
    stored = torch.load(io.BytesIO(trained[1]), weights_only=True)
    stored["manifest"]["features"] = ["air_temp_k"]
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    with pytest.raises(Misconfigured, match="other features"):
        load(buffer.getvalue())


def test_weights_that_are_not_finite_are_refused(trained: tuple[FailureNet, bytes]) -> None:
    stored = torch.load(io.BytesIO(trained[1]), weights_only=True)
    stored["state_dict"]["heads.bias"][0] = float("nan")
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    with pytest.raises(Misconfigured, match="not finite"):
        load(buffer.getvalue())


def test_too_few_readings_say_what_to_do() -> None:
    with pytest.raises(Misconfigured, match="sensor_log holds 20 readings") as caught:
        prepare(plant(20), seed=0)
    assert "pdm simulate" in caught.value.hint


def test_without_a_model_every_score_is_none() -> None:
    assert Scorer().score([make_reading()]) == [None]


def test_missing_sensors_become_zero_and_a_mask_bit() -> None:
    row = features(*columns([Reading("machine-001", START, rpm=1500.0)]))[0]
    named = dict(zip(NAMES, row, strict=True))
    assert np.isfinite(row).all()
    assert (named["rpm_missing"], named["torque_missing"], named["temp_missing"], named["wear_missing"]) == (0, 1, 1, 1)
