"""What a trial is given, and how many trials the cluster holds at once."""

import math
from dataclasses import dataclass

import ray


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Resources of one trial."""

    cpus: float
    gpus: float

    def as_ray(self) -> dict[str, float]:
        """The mapping that Ray takes."""
        return {"cpu": self.cpus, "gpu": self.gpus}


def resources_of_a_trial(cpus: float | None, gpus: float | None) -> Resources:
    """The asked resources; by default one core, and one GPU where the cluster has any."""
    has_gpu = _total().get("GPU", 0) > 0
    return Resources(
        cpus=1.0 if cpus is None else cpus, gpus=float(has_gpu) if gpus is None else gpus
    )


def num_slots(resources: Resources) -> int:
    """Trials that fit at once on the nodes that are there now; never across two nodes."""
    return sum(fits(node, resources) for node in _nodes())


def describe_cluster() -> str:
    """Nodes, CPU cores and GPUs of the cluster in one line."""
    total = _total()
    return (
        f"{len(_nodes())} node(s), {total.get('CPU', 0):g} CPU cores, {total.get('GPU', 0):g} GPUs"
    )


def _total() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own
    return found


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is alive."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    return [node["Resources"] for node in nodes if node["Alive"]]


def fits(available: dict[str, float], resources: Resources) -> int:
    """Trials that one node's resources hold."""
    by_cpu = math.floor(available.get("CPU", 0.0) / resources.cpus)
    if not resources.gpus:
        return by_cpu
    # A fraction never spans two cards.
    a_card = math.floor(1 / resources.gpus)
    return min(by_cpu, math.floor(available.get("GPU", 0.0)) * a_card)
