"""The workers that trials run in: what they share, how many there may be, what halts them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import tune

from cluster.addresses import address_to_join
from cluster.resources import Resources, Share, name_of_actor
from cluster.session import ray_session
from results.run import Run
from tuning.capacity import resources_for
from tuning.checkpoints import Checkpoints
from tuning.config import Configuration
from tuning.node_checks import check_joined_nodes
from tuning.trainable import SearchData, Surroundings, run_trial
from tuning.workers import StopFlag


@dataclass(frozen=True, kw_only=True)
class WorkerPool:
    """The workers of one search; Ray must be connected."""

    resources: Resources
    """Of one trial."""
    trainable: Any
    """The trial's function with its data, put in the object store once."""
    is_joined: bool
    """Whether the cluster is not of the search's own."""
    _share: Share
    _limit: int | None
    _flag: StopFlag

    def capacity(self) -> int:
        """Trials that may run at the moment, at least 1."""
        num = self._share()
        return max(num if self._limit is None else min(self._limit, num), 1)

    def halt(self, flag: str) -> None:
        """Tell all trials that watch a flag to write a checkpoint and end; does not wait."""
        self._flag.lift(flag)


def make_pool(
    configuration: Configuration,
    data: SearchData,
    *,
    run: Run,
    resources: Resources,
    checkpoints: Checkpoints,
) -> WorkerPool:
    """Put the data in the object store, and start the process that holds the flags.

    Args:
        configuration: of the search.
        data: what all trials share.
        run: after which the search is named on the cluster.
        resources: of one trial.
        checkpoints: where trials keep theirs.
    """
    name = name_of_actor(run.directory.name)
    limit = configuration.search.max_concurrent
    is_joined = address_to_join(configuration.cluster.address) is not None
    flag = StopFlag(name)
    return WorkerPool(
        resources=resources,
        trainable=tune.with_parameters(
            run_trial,
            data=data,
            surroundings=Surroundings(checkpoints=checkpoints, flag=flag, gpus=resources.gpus),
        ),
        is_joined=is_joined,
        _share=Share(name=name, resources=resources, limit=limit, is_joined=is_joined),
        _limit=limit,
        _flag=flag,
    )


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
