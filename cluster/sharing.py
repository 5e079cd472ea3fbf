"""Several searches on one cluster: each sees the others and takes its share."""

import time
import uuid
from dataclasses import dataclass, field

from ray.util import list_named_actors

from cluster.resources import Resources, num_slots

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
