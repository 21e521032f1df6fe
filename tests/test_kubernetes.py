"""What kustomize renders for Kubernetes: valid, strict, and what the daemon understands."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from consumers import config, config_environment
from consumers.config import Config, Shards
from deploy.kubernetes import build
from tests import services
from tests.dockerfile import steps

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
PLACES = ["base", "overlays/example"]
VERSION = "1.34"

needs_kubectl = pytest.mark.services


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A table that has no other keys than these, those of the operator's resources that we use."""


class Rule(Strict):
    expr: str
    alert: str = ""
    record: str = ""
    keep_firing_for: str = "1m"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    wait: str = msgspec.field(name="for", default="0s")


class Group(Strict):
    name: str
    rules: list[Rule]
    interval: str = "1m"


class RuleSpec(Strict):
    groups: list[Group]


class Relabeling(Strict):
    sourceLabels: list[str]
    targetLabel: str


class Endpoint(Strict):
    port: str
    path: str
    interval: str
    scrapeTimeout: str
    relabelings: list[Relabeling]


class Selector(Strict):
    matchLabels: dict[str, str]


class MonitorSpec(Strict):
    selector: Selector
    endpoints: list[Endpoint]


OF_THE_OPERATOR = {"PrometheusRule": RuleSpec, "ServiceMonitor": MonitorSpec}


@cache
def rendered(place: str) -> list[dict[str, Any]]:
    """Return what kustomize makes of a folder."""
    if reason := services.missing("kubectl"):
        pytest.skip(reason)
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / place)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def the(place: str, kind: str, name: str = "liquidator") -> dict[str, Any]:
    """Return one object."""
    found = [it for it in rendered(place) if (it["kind"], it["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{kind} {name}"
    return found[0]


def pods(place: str) -> list[dict[str, Any]]:
    """Return what pods are made of."""
    kinds = ("StatefulSet", "Deployment")
    return [it["spec"]["template"]["spec"] for it in rendered(place) if it["kind"] in kinds]


def test_the_rule_is_what_prometheus_own_files_say() -> None:
    assert build.TARGET.read_text() == build.text(), "run: python -m deploy.kubernetes.build"
    names = Counter(group["name"] for group in build.groups())
    assert max(names.values()) == 1, "the operator merges groups by name"


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_every_object_is_valid(place: str) -> None:
    for it in rendered(place):
        spec = OF_THE_OPERATOR.get(it["kind"])
        if spec is None:
            assert kubernetes_validate.validate(it, VERSION, strict=True) == VERSION
        else:
            assert it["apiVersion"] == "monitoring.coreos.com/v1"
            msgspec.convert(it["spec"], spec)


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_pods_keep_the_restricted_standard(place: str) -> None:
    found = pods(place)
    assert len(found) == 2
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (user,) = [
            step.rest for step in steps(ROOT / "deploy/docker/Dockerfile") if step.word == "USER"
        ]
        assert user.split(":")[0] == str(pod["securityContext"]["runAsUser"])
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", container["image"])


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_a_pod_is_started_alive_and_ready_by_the_daemons_own_word(place: str) -> None:
    for pod in pods(place):
        (container,) = pod["containers"]
        (port,) = container["ports"]
        paths = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for probe, path in paths.items():
            assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    daemon = the(place, "StatefulSet")["spec"]["template"]["spec"]
    assert daemon["terminationGracePeriodSeconds"] > Shards().stop_timeout + 2 * 5


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_a_pod_that_comes_back_has_its_name(place: str) -> None:
    spec = the(place, "StatefulSet")["spec"]
    service = the(place, "Service", spec["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    environment = {it["name"]: it for it in spec["template"]["spec"]["containers"][0]["env"]}
    name = environment["LIQUIDATOR_KAFKA_GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]
    assert name["fieldPath"] == "metadata.name"
    assert the(place, "Deployment", "liquidator-bridge")["spec"]["replicas"] == 1


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_selectors_find_pods_and_ports(place: str) -> None:
    labels = {}
    for it in rendered(place):
        if it["kind"] in ("StatefulSet", "Deployment"):
            found = it["spec"]["template"]["metadata"]["labels"]
            assert it["spec"]["selector"]["matchLabels"].items() <= found.items()
            labels[it["metadata"]["name"]] = found
    for name, found in labels.items():
        service = the(place, "Service", name)
        assert service["spec"]["selector"].items() <= found.items()
        monitor = the(place, "ServiceMonitor")["spec"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert {it["port"] for it in monitor["endpoints"]} == {
            it["name"] for it in service["spec"]["ports"]
        }
    budget = the(place, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert budget.items() <= labels["liquidator"].items()
    (rule,) = the(place, "NetworkPolicy")["spec"]["podSelector"]["matchExpressions"]
    assert set(rule["values"]) == {it[rule["key"]] for it in labels.values()}


@needs_kubectl
@pytest.mark.parametrize("place", PLACES)
def test_the_daemon_understands_its_file_and_its_environment(place: str, tmp_path: Path) -> None:
    (files,) = [it for it in rendered(place) if it["kind"] == "ConfigMap"]
    known = config_environment.variables(Config)
    for pod in pods(place):
        (container,) = pod["containers"]
        mounted = {it["name"]: it["mountPath"] for it in container["volumeMounts"]}
        (source,) = [it["configMap"]["name"] for it in pod["volumes"] if it["name"] == "config"]
        assert source == files["metadata"]["name"]
        file = Path(container["args"][-1])
        assert str(file.parent) == mounted["config"]
        text = files["data"][file.name]
        for secret in re.findall(rf"{mounted['secrets']}/([\w.-]+)", text):
            (tmp_path / secret).write_text("secret")
        path = tmp_path / file.name
        path.write_text(text.replace(mounted["secrets"], str(tmp_path)))
        config.read(path)
        assert {it["name"] for it in container["env"]} <= set(known)
