"""The documents for Kubernetes: known to it and to KubeRay, and closed to others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

from tests.cluster.documents import (
    ALL_NODES,
    ALL_PODS,
    FILES,
    FOLDER,
    Document,
    cluster_of,
    everywhere,
    problems,
    read,
)

ROOT = Path(__file__).parents[2]

QUANTITY = re.compile(r"\d+(\.\d+)?(m|[kMGTPE]i?)?")
HEALTH = {"path": "/api/healthz", "port": DEFAULT_DASHBOARD_AGENT_LISTEN_PORT}
"""Ray's agent on a node answers 200 only if the node (on the head, the cluster too) is well."""


def changed(name: str, path: str, value: Any) -> Document:
    """A document with one value replaced (None: removed); `path` joins keys and numbers by dots."""
    document: Document = json.loads(json.dumps(read(name)))  # what YAML's aliases share, once each
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    parent: Any = document
    for key in parents:
        parent = parent[key]
    if value is None:
        del parent[last]
    else:
        parent[last] = value
    return document


def test_every_document_is_tested() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.yaml")) == FILES


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_and_kuberay_know_every_field(name: str) -> None:
    assert problems(read(name)) == []


HEAD = "spec.headGroupSpec.template.spec"
WORKER = "spec.workerGroupSpecs.0"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("raycluster.yaml", "spec.rayVersion", 2.6),
        ("raycluster.yaml", "spec.headGroupSpecs", {}),
        ("raycluster.yaml", "spec.headGroupSpec", None),
        ("raycluster.yaml", "spec.authOptions.mode", "tokens"),
        ("raycluster.yaml", "spec.authOptions.secret", "a"),
        ("raycluster.yaml", "spec.enableInTreeAutoscaling", "true"),
        ("raycluster.yaml", "spec.headGroupSpec.serviceType", "Clusterip"),
        ("raycluster.yaml", "spec.headGroupSpec.rayStartParams.num-cpus", 0),
        ("raycluster.yaml", "spec.autoscalerOptions.upscalingMode", "Fast"),
        ("raycluster.yaml", "spec.autoscalerOptions.idleTimeoutSeconds", True),
        ("raycluster.yaml", "spec.autoscalerOptions.securityContext.priviledged", True),
        ("raycluster.yaml", "spec.autoscalerOptions.resources.limit", {}),
        ("raycluster.yaml", f"{WORKER}.minReplicas", None),
        ("raycluster.yaml", f"{WORKER}.maxReplicas", "4"),
        ("raycluster.yaml", f"{WORKER}.template.metadata.label", {}),
        ("raycluster.yaml", f"{HEAD}.container", []),
        ("raycluster.yaml", f"{HEAD}.containers", None),
        ("raycluster.yaml", f"{HEAD}.securityContext.runAsNonroot", True),
        ("raycluster.yaml", f"{HEAD}.containers.0.name", None),
        ("raycluster.yaml", f"{HEAD}.containers.0.livenessProbe.httpGet.port", None),
        ("raycluster.yaml", f"{HEAD}.terminationGracePeriodSeconds", "60"),
        ("raycluster.yaml", f"{HEAD}.volumes.1.emptyDir.sizelimit", "3Gi"),
        ("rayjob.yaml", "spec.submissionMode", "K8sJob"),
        ("rayjob.yaml", "spec.backoffLimit", 1.5),
        ("rayjob.yaml", "spec.shutdownAfterJobFinish", True),
        ("rayjob.yaml", "spec.rayClusterSpec.headGroupSpec.template", None),
        ("rayjob.yaml", "spec.submitterPodTemplate.spec.containers.0.resource", {}),
        ("volume.yaml", "spec.accessMode", []),
        ("network-policy.yaml", "spec.ingress.0.from.0.podSelectors", {}),
        ("network-policy.yaml", "spec.podSelector.matchLabels", []),
    ],
)
def test_a_wrong_field_type_or_value_is_found(name: str, path: str, value: Any) -> None:
    assert len(problems(changed(name, path, value))) == 1


def test_the_job_s_cluster_is_the_same_as_the_one_that_stays() -> None:
    assert cluster_of("rayjob.yaml") == cluster_of("raycluster.yaml")


def test_the_nodes_run_the_version_of_ray_that_is_installed() -> None:
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert cluster_of("raycluster.yaml")["rayVersion"] == pinned[1]


def test_every_pod_is_restricted_as_pod_security_standards_have_it() -> None:
    for pod in ALL_PODS:
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == cluster_security()
    for name in FILES:
        banned = {"hostNetwork", "hostPID", "hostIPC", "hostPort", "hostPath", "privileged"}
        assert banned.isdisjoint(key for key, _ in everywhere(read(name)))


def cluster_security() -> Document:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_the_autoscaler_beside_the_head_is_restricted_too() -> None:
    options = cluster_of("raycluster.yaml")["autoscalerOptions"]
    assert options["securityContext"] == cluster_security()
    assert options["resources"].keys() == {"requests", "limits"}


def test_only_the_head_whose_autoscaler_needs_it_holds_an_account_of_kubernetes() -> None:
    heads = [pod for pod in ALL_PODS if pod["spec"].get("automountServiceAccountToken", True)]
    assert [pod["spec"]["containers"][0]["name"] for pod in heads] == ["ray-head", "ray-head"]


def test_every_container_requests_what_it_needs_and_takes_no_more() -> None:
    for pod in ALL_PODS:
        for container in pod["spec"]["containers"]:
            resources = container["resources"]
            assert resources["requests"].keys() == resources["limits"].keys() >= {"cpu", "memory"}
            assert resources["requests"]["memory"] == resources["limits"]["memory"]
    for name in FILES:
        for key, value in everywhere(read(name)):
            if key in ("requests", "limits"):
                assert all(QUANTITY.fullmatch(quantity) for quantity in value.values()), value


def test_every_node_is_asked_how_it_is_where_ray_answers_without_a_token() -> None:
    for pod in ALL_NODES:
        (container,) = pod["spec"]["containers"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[kind]["httpGet"] == HEALTH
    assert HEALTH["path"] in PUBLIC_EXACT_PATHS


def test_the_token_comes_from_a_secret_that_stands_in_no_file() -> None:
    assert cluster_of("raycluster.yaml")["authOptions"] == {
        "mode": "token",
        "secretName": "severity-search-token",
    }
    for name in FILES:
        assert read(name)["kind"] != "Secret"
        for key, value in everywhere(read(name)):
            if key == "env":
                assert [item["name"] for item in value if "TOKEN" in item["name"]] == []
    assert "secret generic severity-search-token" in (FOLDER / "README.md").read_text("utf-8")


def test_nothing_is_reached_from_outside() -> None:
    assert cluster_of("raycluster.yaml")["headGroupSpec"]["serviceType"] == "ClusterIP"
    for name in FILES:
        assert read(name)["kind"] not in ("Service", "Ingress", "Gateway", "HTTPRoute")
        keys = {key for key, _ in everywhere(read(name))}
        assert keys.isdisjoint({"enableIngress", "headService", "nodePort", "externalIPs"})


def test_only_our_pods_and_the_operator_get_in() -> None:
    policy = read("network-policy.yaml")["spec"]
    own = {"matchLabels": policy["podSelector"]["matchLabels"]}
    assert policy["policyTypes"] == ["Ingress"]
    ours, operator = policy["ingress"]
    assert ours == {"from": [{"podSelector": own}]}
    (asker,) = operator["from"]  # both selectors in one entry: either alone would let more in
    assert asker.keys() == {"namespaceSelector", "podSelector"}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    for pod in ALL_PODS:
        assert own["matchLabels"].items() <= pod["metadata"]["labels"].items()
