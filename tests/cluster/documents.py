"""The documents for Kubernetes, and the parts of them that tests look at."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.manifests import Document

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
