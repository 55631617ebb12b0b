"""The Kubernetes manifests, as the cluster would get them: valid, hardened and in step with the settings."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tests.support import services

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/k8s/base"

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    if shutil.which("kubectl") is None:
        missing = "kubectl is not installed (Debian: kubernetes-client)"
        if services.are_required():
            pytest.fail(missing)
        pytest.skip(missing)
    rendered = subprocess.run(["kubectl", "kustomize", BASE], capture_output=True, text=True, timeout=60, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return list(YAML(typ="safe", pure=True).load_all(rendered.stdout))


def workloads(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {item["metadata"]["name"]: item for item in manifests if item["kind"] in {"Deployment", "Job"}}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {name: item["spec"]["template"]["spec"] for name, item in workloads(manifests).items()}


def test_every_manifest_is_what_the_cluster_accepts(manifests: list[Manifest]) -> None:
    version = kubernetes_validate.latest_version()
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_would_be_found(manifests: list[Manifest]) -> None:
    broken = workloads(manifests)["orrery-api"]
    broken = {**broken, "spec": {**broken["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_all_that_distributed_mode_needs_is_there(manifests: list[Manifest]) -> None:
    found = workloads(manifests)
    assert set(found) == {"orrery-api", "orrery-dispatcher", "orrery-worker", "orrery-migrate"}
    assert found["orrery-dispatcher"]["spec"]["replicas"] == 2
    for name, pod in pods(manifests).items():
        (container,) = pod["containers"]
        assert container["args"] == [name.removeprefix("orrery-")]


def test_no_pod_can_do_more_than_it_must(manifests: list[Manifest]) -> None:
    for pod in pods(manifests).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 10_000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_every_long_running_pod_is_probed_and_protected(manifests: list[Manifest]) -> None:
    protected = {
        item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for item in manifests
        if item["kind"] == "PodDisruptionBudget"
    }
    for name, item in workloads(manifests).items():
        if item["kind"] != "Deployment":
            continue
        (container,) = item["spec"]["template"]["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["startupProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert name in protected


def test_a_worker_has_longer_to_end_than_its_tasks(manifests: list[Manifest]) -> None:
    """By default 25 s to finish and 10 s between TERM and KILL, and then it still has to hand back."""
    assert pods(manifests)["orrery-worker"]["terminationGracePeriodSeconds"] >= 25 + 10 + 5


def test_no_policy_lets_a_pod_reach_the_cloud_s_credentials(manifests: list[Manifest]) -> None:
    policies = [item for item in manifests if item["kind"] == "NetworkPolicy"]
    denied = next(item for item in policies if item["metadata"]["name"] == "orrery-deny")
    assert sorted(denied["spec"]["policyTypes"]) == ["Egress", "Ingress"]
    assert "egress" not in denied["spec"]
    assert "ingress" not in denied["spec"]
    blocks = [
        peer["ipBlock"]
        for item in policies
        for rule in item["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert blocks
    for block in blocks:
        assert "169.254.0.0/16" in block["except"] or "fd00:ec2::/32" in block["except"]


def test_every_policy_and_service_names_pods_that_exist(manifests: list[Manifest]) -> None:
    names = {
        item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for item in workloads(manifests).values()
    }
    for item in manifests:
        selector: Manifest = {}
        if item["kind"] == "NetworkPolicy":
            selector = item["spec"]["podSelector"].get("matchLabels", {})
        elif item["kind"] == "Service":
            selector = item["spec"]["selector"]
        if "app.kubernetes.io/name" in selector:
            assert selector["app.kubernetes.io/name"] in names


def test_every_setting_in_the_manifests_is_one_that_orrery_knows(manifests: list[Manifest]) -> None:
    """An unknown ``ORRERY_`` variable is an error at start, so a stale name here would stop every pod."""
    source = ROOT / "packages/scheduler_infrastructure/src/scheduler_infrastructure/bootstrap/settings.py"
    known = source.read_text()
    config = next(item for item in manifests if item["kind"] == "ConfigMap")
    named = set(config["data"]) | {
        variable["name"] for pod in pods(manifests).values() for variable in pod["containers"][0]["env"]
    }
    unknown = sorted(name for name in named if f"{name.removeprefix('ORRERY_').lower()}:" not in known)
    assert unknown == []
