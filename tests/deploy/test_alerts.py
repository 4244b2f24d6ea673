"""The alarms, read and tried by Prometheus' own promtool, and every metric that they name is one of ours."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from pdm import metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
CACHE = Path(tempfile.gettempdir()) / f"pdm-promtool-{os.getuid()}"
SEVERITIES = {"critical", "warning"}


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The one in PATH, else Debian's, unpacked without installing the server."""
    if found := shutil.which("promtool"):
        return Path(found)
    tool = CACHE / "usr" / "bin" / "promtool"
    if not tool.exists():
        _unpack_debians()
    return tool


def _unpack_debians() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("promtool is not in PATH, and this is no Debian to take it from")
    CACHE.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        fetched = subprocess.run(
            ["apt-get", "download", "prometheus"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )
        packages = list(Path(folder).glob("prometheus_*.deb"))
        if fetched.returncode != 0 or not packages:
            pytest.skip(f"promtool cannot be had: {(fetched.stderr.strip().splitlines() or ['no package'])[-1]}")
        subprocess.run(["dpkg", "-x", packages[0], CACHE], check=True, timeout=120)


def run(promtool: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60)


def rules() -> list[dict[str, object]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def metric_names() -> set[str]:
    declared = [value for value in vars(metrics).values() if isinstance(value, Counter | Gauge | Histogram)]
    return {sample for metric in declared for sample in _samples(metric)}


def _samples(metric: Counter | Gauge | Histogram) -> set[str]:
    name = next(iter(metric.describe())).name
    if isinstance(metric, Counter):
        return {f"{name}_total"}
    return {f"{name}_bucket", f"{name}_count", f"{name}_sum"} if isinstance(metric, Histogram) else {name}


def test_promtool_finds_nothing_to_complain_of(promtool: Path) -> None:
    ended = run(promtool, "check", "rules", "alerts.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_alarms_ring_when_they_should_and_are_silent_else(promtool: Path) -> None:
    ended = run(promtool, "test", "rules", "alerts.test.yaml")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_metric_that_an_alarm_names_is_one_of_ours() -> None:
    named = set(re.findall(r"pdm_\w+", " ".join(str(rule["expr"]) for rule in rules())))
    assert named - metric_names() == set()


def test_every_alarm_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        labels, annotations = rule["labels"], rule["annotations"]
        assert isinstance(labels, dict)
        assert isinstance(annotations, dict)
        assert labels["severity"] in SEVERITIES
        assert annotations["summary"]
        assert annotations["action"]
