"""What a trial is given, and how many trials the cluster holds at once."""

import math
import time
import uuid
from dataclasses import dataclass, field

import ray
from ray.util import list_named_actors


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


NAMESPACE = "severity-search"
"""Ray's namespace of all searches; an actor in it stands for each."""

_PREFIX = "search "
_SECONDS_BETWEEN_COUNTS = 1.0
_FIRST_WAITING = 4
"""Trials that wait on a small cluster, so that it grows; on a larger one as many as run."""


def name_of_actor(run: str) -> str:
    """A name for the actor that stands for a search; it leaves with the search's driver."""
    return f"{_PREFIX}{run} {uuid.uuid4().hex[:8]}"


def searches() -> list[str]:
    """Names of the actors that stand for the searches on this cluster, in one order for all."""
    names: list[str] = list_named_actors()
    return sorted(name for name in names if name.startswith(_PREFIX))


@dataclass(kw_only=True)
class Share:
    """How many trials a search may have at once.

    Alone it may have as many as the nodes hold; with a limit of its own on a cluster that it has
    joined, up to that, some of which wait for room: they make an autoscaled cluster grow. Where
    there are other searches, the nodes are shared evenly: a search with more than its part begins
    no trial until it is down to it.
    """

    name: str
    """Of the actor that stands for this search."""

    resources: Resources
    """Of one trial."""
    limit: int | None
    """`search.max_concurrent`."""
    is_joined: bool
    """Whether the cluster is not of the search's own."""
    _searches: list[str] = field(default_factory=list, init=False)
    _slots: int = field(default=0, init=False)
    _counted_at: float = field(default=float("-inf"), init=False)

    def __call__(self) -> int:
        """Trials at once, at this moment, at least 1."""
        if time.monotonic() >= self._counted_at + _SECONDS_BETWEEN_COUNTS:
            self._slots = num_slots(self.resources)
            self._searches = searches() if self.is_joined else []
            self._counted_at = time.monotonic()
        slots, others = self._slots, [name for name in self._searches if name != self.name]
        if not self.is_joined:
            return slots
        if others:
            each, rest = divmod(slots, len(others) + 1)
            earlier = sum(name < self.name for name in others)
            return max(1, each + (earlier < rest))
        # Few wait at a time: a search that comes later would wait until they all have run.
        return slots if self.limit is None else min(self.limit, slots + max(slots, _FIRST_WAITING))
