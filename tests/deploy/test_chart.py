"""The chart: linted and rendered by Helm itself, valid for Kubernetes, least rights, refusing what cannot work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from tests.deploy.settings_known import is_known

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "pdm"
KUBERNETES = ("1.27", "1.37")  # the oldest that Chart.yaml allows, and the newest with schemas
INFO = 1
GIVEN: dict[str, Any] = {
    "engines": {
        "kafka": {"bootstrapServers": "kafka:9092"},
        "mainDb": {"url": "postgresql://postgres-main:5432/pdm_main"},
        "aiDb": {"url": "postgresql://postgres-ai:5432/pdm_ai"},
        "redis": {"url": "redis://valkey:6379/0"},
        "connect": {"url": "http://connect:8083"},
    },
    "secrets": {"existing": "pdm-secrets"},
}
OWN_SECRETS = {
    name: f"{name}-value"
    for name in (
        "apiKey",
        "mainDbOwnerPassword",
        "aiDbOwnerPassword",
        "ingestorPassword",
        "inferencePassword",
        "portalPassword",
        "cdcPassword",
    )
}
VARIANTS: dict[str, dict[str, Any]] = {
    "given only": {},
    "own secrets": {"secrets": {"existing": "", **OWN_SECRETS}},
    "everything on": {
        "roles": {"simulator": {"enabled": True}},
        "ingress": {"enabled": True, "host": "pdm.example", "tlsSecret": "pdm-tls", "className": "nginx"},
        "extraEnv": {"PDM_LOG__LEVEL": "DEBUG"},
        "imagePullSecrets": [{"name": "registry"}],
    },
}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: merged(base[key], over[key]) for key in base.keys() & over.keys() if isinstance(base[key], Mapping)}
    return {**base, **over, **both}


def render(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(merged(GIVEN, values), name="pdm", namespace="plant")
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def of_kind(kind: str, manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in manifests if item["kind"] == kind}


def pods(manifests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pod specs by the component they belong to."""
    return {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: item["spec"]["template"]["spec"]
        for item in manifests
        if item["kind"] in ("Deployment", "Job")
    }


def test_helm_finds_nothing_to_complain_of() -> None:
    found = helm.lint(CHART, GIVEN, strict=True, namespace="plant")
    assert [message for message in found["messages"] if message["severity"] > INFO] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_is_valid_for_kubernetes(variant: str, version: str) -> None:
    manifests = render(VARIANTS[variant])
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)
    assert {"pdm-ingestor", "pdm-inference", "pdm-portal"} <= of_kind("Deployment", manifests).keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": {}},
        {"engines": {"kafka": {"bootstrapServers": ""}}},
        {"engines": {"mainDb": {"url": "postgresql://user:password@host/db"}}},
        {"secrets": {"existing": ""}},
        {"roles": {"simulator": {"replicas": 2}}},
        {"roles": {"ingestor": {"replicas": 0}}},
        {"extraEnv": {"OTHER": "1"}},
        {"locale": "de"},
        {"ingress": {"enabled": True}},
    ],
)
def test_values_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmError):
        render(wrong)


def test_no_pod_gets_a_password_that_is_not_its_own() -> None:
    own = {
        "simulator": {"apiKey"},
        "ingestor": {"apiKey", "ingestorPassword"},
        "inference": {"apiKey", "inferencePassword", "redisPassword"},
        "portal": {"apiKey", "portalPassword", "redisPassword"},
        "setup": {*OWN_SECRETS} - {"apiKey"},
    }
    found = {
        component: {
            variable["valueFrom"]["secretKeyRef"]["key"]
            for variable in pod["containers"][0]["env"]
            if "valueFrom" in variable
        }
        for component, pod in pods(render(VARIANTS["everything on"])).items()
    }
    assert found == own


def test_every_pod_is_restricted() -> None:
    for pod in pods(render(VARIANTS["everything on"])).values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]


def test_what_is_installed_unasked_is_for_production() -> None:
    containers = {component: pod["containers"][0] for component, pod in pods(render({})).items()}
    assert containers.keys() == {"setup", "ingestor", "inference", "portal"}
    given = {variable["name"]: variable.get("value") for variable in containers["setup"]["env"]}
    assert given["PDM_KAFKA__REPLICATION_FACTOR"] == "3"
    assert given["PDM_KAFKA__RAW_PARTITIONS"] == "12"
    assert given["PDM_KAFKA__ALERT_PARTITIONS"] == "6"


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"tag": "0.2.0"}},
        {"image": {"pullPolicy": "Always"}},
        {"engines": {"connect": {"url": "http://other:8083"}}},
        {"imagePullSecrets": [{"name": "registry"}]},
        {"locale": "en"},
        {"extraEnv": {"PDM_LOG__LEVEL": "DEBUG"}},
        {"setup": {"timeoutSeconds": 600}},
        {"secrets": {"existing": "other"}},
    ],
)
def test_another_pod_is_another_setup_job(change: dict[str, Any]) -> None:
    """Kubernetes refuses to change the pod of a Job: under its old name an upgrade would fail."""
    (before,), (after,) = of_kind("Job", render({})), of_kind("Job", render(change))
    assert before != after


def test_what_set_up_does_not_read_is_the_same_setup_job() -> None:
    assert of_kind("Job", render({})) == of_kind("Job", render({"roles": {"ingestor": {"replicas": 3}}}))


def test_another_password_is_another_setup_job() -> None:
    own = VARIANTS["own secrets"]
    changed = merged(own, {"secrets": {"portalPassword": "other"}})
    assert of_kind("Job", render(own)).keys() != of_kind("Job", render(changed)).keys()


def test_every_setting_that_the_chart_names_exists() -> None:
    for pod in pods(render(VARIANTS["everything on"])).values():
        names = {variable["name"] for variable in pod["containers"][0]["env"]}
        assert {name for name in names if not is_known(name)} == set()


def test_secrets_stand_in_the_secret_alone() -> None:
    manifests = render(VARIANTS["own secrets"])
    (secret,) = of_kind("Secret", manifests).values()
    assert secret["stringData"] == OWN_SECRETS
    others = yaml.safe_dump_all(item for item in manifests if item["kind"] != "Secret")
    assert not any(value in others for value in OWN_SECRETS.values())
