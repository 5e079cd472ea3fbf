"""Resources of a trial, and how many trials may run concurrently, shared with other searches."""

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
        """Return the mapping that Ray takes."""
        return {"cpu": self.cpus, "gpu": self.gpus}


def resources_of_a_trial(cpus: float | None, gpus: float | None) -> Resources:
    """Return the requested resources; by default one core, and one GPU if the cluster has any."""
    has_gpu = _total().get("GPU", 0) > 0
    return Resources(
        cpus=1.0 if cpus is None else cpus, gpus=float(has_gpu) if gpus is None else gpus
    )


def num_slots(resources: Resources) -> int:
    """Return how many trials fit on the present nodes at the same time, each on one node."""
    return sum(fits(node, resources) for node in _nodes())


def describe_cluster() -> str:
    """Return nodes, CPU cores and GPUs of the cluster in one line."""
    total = _total()
    return (
        f"{len(_nodes())} node(s), {total.get('CPU', 0):g} CPU cores, {total.get('GPU', 0):g} GPUs"
    )


def _total() -> dict[str, float]:
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's own
    return found


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's own
    return [node["Resources"] for node in nodes if node["Alive"]]


def fits(available: dict[str, float], resources: Resources) -> int:
    """Return how many trials fit on a node with these resources."""
    by_cpu = math.floor(available.get("CPU", 0.0) / resources.cpus)
    if not resources.gpus:
        return by_cpu
    # A trial with a fraction of a GPU never spans two cards.
    trials_per_card = math.floor(1 / resources.gpus)
    return min(by_cpu, math.floor(available.get("GPU", 0.0)) * trials_per_card)


NAMESPACE = "severity-search"
"""Ray's namespace of all searches; one actor in it represents each search."""

_PREFIX = "search "
_SECONDS_BETWEEN_COUNTS = 1.0
_MIN_WAITING = 4
"""Trials that may wait on a small cluster, so that it grows; on a larger one as many as run."""


def name_of_actor(run: str) -> str:
    """Return a name for the actor that represents a search; the actor ends with the driver."""
    return f"{_PREFIX}{run} {uuid.uuid4().hex[:8]}"


def searches() -> list[str]:
    """Return the sorted names of the actors that represent the searches on this cluster."""
    names: list[str] = list_named_actors()
    return sorted(name for name in names if name.startswith(_PREFIX))


@dataclass(kw_only=True)
class Share:
    """How many concurrent trials a search may have.

    A search alone may have as many as fit on the nodes. If it has joined a cluster and has a limit
    of its own, it may have up to this limit; the trials that do not fit wait, which makes an
    autoscaled cluster grow. With other searches it shares the nodes evenly: a search with more
    trials than its share starts none until enough of them have ended.
    """

    name: str
    """Of the actor that represents this search."""

    resources: Resources
    """Of one trial."""
    limit: int | None
    """`search.max_concurrent`."""
    is_joined: bool
    """Whether the search has joined a running cluster."""
    _searches: list[str] = field(default_factory=list, init=False)
    _slots: int = field(default=0, init=False)
    _counted_at: float = field(default=float("-inf"), init=False)

    def __call__(self) -> int:
        """Return the number of trials that may run or wait now, at least 1."""
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
        # Only a few wait at a time: a later search must wait until they all have run.
        return slots if self.limit is None else min(self.limit, slots + max(slots, _MIN_WAITING))
