"""Read and validate the documents for Kubernetes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.cluster.kuberay_fields import ENUMS, FIELDS, TYPES

Document = dict[str, Any]

KUBERNETES = "1.30"
"""The oldest version that the documents are written for; later ones drop none of their fields."""


def problems(document: Document) -> list[str]:
    """What an API server would refuse or drop, a line each."""
    if document["apiVersion"] == "ray.io/v1":
        return list(_of_type(document, document["kind"], document["kind"]))
    return list(_of_kubernetes(document, document["kind"]))


def _of_type(value: Any, kind: str, where: str) -> Iterator[str]:
    if kind.startswith("["):
        yield from _of_list(value, kind[1:-1], where)
    elif kind.startswith("k8s:"):
        yield from _of_kubernetes(_complete(kind.removeprefix("k8s:"), value), where)
    elif kind in FIELDS:
        yield from _of_table(value, FIELDS[kind], where)
    elif kind == "Strings":
        wrong = not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values())
        if wrong:
            yield f"{where} is {value!r}, but must map text to text"
    elif kind in ENUMS:
        if value not in ENUMS[kind]:
            yield f"{where} is {value!r}, but must be one of {sorted(ENUMS[kind])}"
    # For Python true is an integer, for Kubernetes it is not.
    elif not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        yield f"{where} is {value!r}, but must be of type {kind}"


def _of_list(value: Any, kind: str, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} is {value!r}, but must be a list"
        return
    for number, item in enumerate(value):
        yield from _of_type(item, kind, f"{where}[{number}]")


def _of_table(value: Any, table: dict[str, str], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is {value!r}, but must be a mapping"
        return
    kinds = {name.removesuffix("!"): kind for name, kind in table.items()}
    required = {name.removesuffix("!") for name in table if name.endswith("!")}
    yield from (f"{where}.{name} is missing" for name in sorted(required - value.keys()))
    for name, item in value.items():
        if name in kinds:
            yield from _of_type(item, kinds[name], f"{where}.{name}")
        else:
            yield f"{where}.{name}: there is no such field"


def _of_kubernetes(document: Document, where: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {'.'.join(str(part) for part in error.path)}: {error.message}"


def _complete(kind: str, value: Any) -> Document:
    """A whole document around a part, for the schemas are of whole ones."""
    if kind == "Service":
        return {"apiVersion": "v1", "kind": "Service", **value}
    if kind == "ObjectMeta":
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": value}
    if kind == "PodTemplate":
        return {"apiVersion": "v1", "kind": "PodTemplate", "template": value}
    container: Document = {"name": "a"}
    if kind == "EnvVarSource":
        container["env"] = [{"name": "a", "valueFrom": value}]
    else:
        name = {"Env": "env", "EnvFrom": "envFrom", "Resources": "resources"}.get(kind)
        container[name or kind[0].lower() + kind[1:]] = value
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}


FOLDER = Path(__file__).parents[2] / "cluster" / "kubernetes"
FILES = ["network-policy.yaml", "raycluster.yaml", "rayjob.yaml", "volume.yaml"]


def read(name: str) -> Document:
    (document,) = yaml.safe_load_all((FOLDER / name).read_text("utf-8"))
    return dict(document)


def cluster_of(name: str) -> Document:
    spec = read(name)["spec"]
    return dict(spec.get("rayClusterSpec", spec))


def nodes(name: str) -> dict[str, Document]:
    """Pod templates of Ray's nodes."""
    cluster = cluster_of(name)
    workers = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], **workers}


def pods(name: str) -> Iterator[Document]:
    yield from nodes(name).values()
    if "submitterPodTemplate" in read(name)["spec"]:
        yield read(name)["spec"]["submitterPodTemplate"]


ALL_PODS = [pod for name in ("raycluster.yaml", "rayjob.yaml") for pod in pods(name)]
ALL_NODES = [pod for name in ("raycluster.yaml", "rayjob.yaml") for pod in nodes(name).values()]


def everywhere(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a document with its value, at all depths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from everywhere(item)
    elif isinstance(value, list):
        for item in value:
            yield from everywhere(item)
