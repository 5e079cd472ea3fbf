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


def name_of_actor(run: str) -> str:
    """A name for the actor that stands for a search; it leaves with the search's driver."""
    return f"{_PREFIX}{run} {uuid.uuid4().hex[:8]}"


def num_searches() -> int:
    """Searches on this cluster at the moment, this one included."""
    names: list[str] = list_named_actors()
    return max(1, sum(name.startswith(_PREFIX) for name in names))


@dataclass(kw_only=True)
class Share:
    """How many trials a search may have at once.

    Alone it may have as many as the nodes hold; with a limit of its own on a cluster that it has
    joined, as many as that, since trials that wait make an autoscaled cluster grow. Where there
    are other searches, the nodes are shared evenly: a search with more than its part begins no
    trial until it is down to it.
    """

    resources: Resources
    """Of one trial."""
    limit: int | None
    """`search.max_concurrent`."""
    is_joined: bool
    """Whether the cluster is not of the search's own."""
    _num_searches: int = field(default=1, init=False)
    _counted_at: float = field(default=float("-inf"), init=False)

    def __call__(self) -> int:
        """Trials at once, at this moment, at least 1."""
        if not self.is_joined:
            return num_slots(self.resources)
        if time.monotonic() >= self._counted_at + _SECONDS_BETWEEN_COUNTS:
            self._num_searches, self._counted_at = num_searches(), time.monotonic()
        if self._num_searches == 1 and self.limit is not None:
            return self.limit
        return max(1, num_slots(self.resources) // self._num_searches)
