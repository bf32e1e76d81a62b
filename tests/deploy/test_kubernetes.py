"""The manifests: sound to the schemas of Kubernetes, shut off, and with settings that the product takes."""

import os
import subprocess

import kubernetes_validate
import pytest
import yaml

from templates import ROOT

FOLDER = ROOT / "deploy/kubernetes"
# The oldest release that they are for, and the newest one that the package has.
RELEASES = ("1.30", kubernetes_validate.latest_version())


def objects() -> list[dict]:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"kustomization.yaml", *listed}
    return [one for name in listed for one in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))]


def named(one: dict) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def pods() -> dict[str, dict]:
    return {one["metadata"]["name"]: one["spec"]["template"] for one in objects() if "template" in one.get("spec", {})}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("one", objects(), ids=named)
def test_an_object_is_what_the_schema_says(one, release):
    kubernetes_validate.validate(one, release, strict=True)


def test_the_schema_finds_what_is_wrong():
    wrong = next(one for one in objects() if one["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


@pytest.mark.parametrize("name", ["tidegate-gate", "tidegate-worker"])
def test_a_pod_is_shut_off_bounded_and_watched(name):
    spec = pods()[name]["spec"]
    [container] = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz" and container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert spec["terminationGracePeriodSeconds"] >= 60 + pause + 10
    assert not spec["automountServiceAccountToken"]
    user = (ROOT / "Containerfile").read_text(encoding="utf-8").split("--uid ")[1].split()[0]
    assert spec["securityContext"]["runAsUser"] == int(user)


def test_selectors_select_the_pods_and_disruptions_leave_gates():
    labels = {name: set(pod["metadata"]["labels"].items()) for name, pod in pods().items()}
    for one in objects():
        spec = one.get("spec", {})
        selector = spec.get("selector") if one["kind"] == "Service" else (spec.get("selector") or {}).get("matchLabels")
        if selector:
            assert set(selector.items()) == labels[one["metadata"]["name"]], named(one)
    [scaler] = [one["spec"] for one in objects() if one["kind"] == "HorizontalPodAutoscaler"]
    [budget] = [one["spec"] for one in objects() if named(one) == "PodDisruptionBudget/tidegate-gate"]
    assert budget["minAvailable"] < scaler["minReplicas"]


def test_nothing_gets_in_that_is_not_named():
    [nothing] = [one["spec"] for one in objects() if named(one) == "NetworkPolicy/nothing-else"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_every_volume_is_there_and_no_secret_is_written_down():
    for pod in pods().values():
        spec = pod["spec"]
        there = {volume["name"] for volume in spec["volumes"]} | {"data"}
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} == there
    assert not [named(one) for one in objects() if one["kind"] == "Secret"]


@pytest.mark.parametrize("name", ["tidegate-gate", "tidegate-worker"])
def test_the_product_takes_the_settings(name, tmp_path):
    [settings] = [one["data"]["tidegate.toml"] for one in objects() if one["kind"] == "ConfigMap"]
    check(settings, {one["name"]: one["value"] for one in pods()[name]["spec"]["containers"][0]["env"]}, tmp_path)


@pytest.mark.parametrize(("file", "more"), [("tidegate.toml", {}), ("production.toml", {"TIDEGATE_JOURNAL__KAFKA__BROKERS": "b:9096", "TIDEGATE_JOURNAL__KAFKA__SECURITY__USERNAME": "u"})])
def test_the_product_takes_the_settings_of_machines(file, more, tmp_path):
    check((ROOT / "deploy/aws/files" / file).read_text(encoding="utf-8"), {"TIDEGATE_LAKE__LOCATION": "s3://b/tidegate"} | more, tmp_path)


def check(settings: str, environment: dict[str, str], folder) -> None:
    (folder / "tidegate.toml").write_text(settings, encoding="utf-8")
    shown = subprocess.run([os.environ["TIDEGATE_BIN"], "config", "--config", folder / "tidegate.toml"], env=environment, capture_output=True, encoding="utf-8", timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert 'kind = "kafka"' in shown.stdout and "s3://" in shown.stdout
