"""The AI4I laws against the published data set, where it is at hand, and at their edges, where it is not."""

import csv
import os
from pathlib import Path

import pytest

from pdm import physics


def test_the_heat_limit_is_decided_in_the_last_bit_of_float64() -> None:
    assert physics.overheats(physics.delta_t_k(301.7, 310.3), 1379.0) == (310.3 - 301.7 < 8.6)
    assert not physics.overheats(8.6, 1379.0)
    assert not physics.overheats(8.5, 1380.0)


def test_power_band() -> None:
    assert physics.power_w(60.0, 1_000.0) == pytest.approx(6_283.19, abs=0.01)
    assert physics.leaves_power_band(3_499.9)
    assert not physics.leaves_power_band(3_500.0)
    assert not physics.leaves_power_band(9_000.0)
    assert physics.leaves_power_band(9_000.1)


@pytest.mark.parametrize(
    ("product_type", "limit"), [("L", 11_000), ("M", 12_000), ("H", 13_000), (None, 11_000), ("?", 11_000)]
)
def test_strain_limit_of_a_class(product_type: str | None, limit: float) -> None:
    assert physics.strain_limit_min_nm(product_type) == limit


def test_the_laws_reproduce_every_label_of_the_data_set() -> None:
    path = os.environ.get("PDM_AI4I_CSV")
    if not path:
        pytest.skip("PDM_AI4I_CSV names no AI4I-2020 table: the laws are not compared with its labels")
    with Path(path).open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10_000
    for row in rows:
        air, process, rpm, torque, wear = (
            float(row[name])
            for name in (
                "Air temperature [K]",
                "Process temperature [K]",
                "Rotational speed [rpm]",
                "Torque [Nm]",
                "Tool wear [min]",
            )
        )
        found = (
            physics.overheats(physics.delta_t_k(air, process), rpm),
            physics.leaves_power_band(physics.power_w(torque, rpm)),
            physics.overstrains(physics.strain_min_nm(wear, torque), physics.strain_limit_min_nm(row["Type"])),
        )
        assert found == (row["HDF"] == "1", row["PWF"] == "1", row["OSF"] == "1"), row["UDI"]
