"""The connection of a search to Ray: what a trial gets there, and that all nodes can run one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.resources import Resources
from cluster.session import ray_session
from tuning.config import Configuration
from tuning.node_checks import check_joined_nodes
from tuning.room import resources_for


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A Ray that holds trials."""

    resources: Resources
    """Of one trial."""
    dashboard: str | None
    """HOST:PORT; None where the package has none."""


@contextmanager
def connected(configuration: Configuration, metadata: Mapping[str, str]) -> Iterator[Connection]:
    """Connect to Ray, or start one, for the time of a `with` block.

    Args:
        configuration: where Ray is, and what a trial is given.
        metadata: what the dashboard shows of the job beside its command.

    Raises:
        ClusterError: no Ray answers, or none can be started.
        InputError: no node will ever hold a trial.
        StorageError: a node does not see the shared place.
    """
    with ray_session(configuration.cluster.address, metadata=metadata) as dashboard:
        resources = resources_for(configuration)
        check_joined_nodes(configuration, resources)
        yield Connection(resources=resources, dashboard=dashboard)
