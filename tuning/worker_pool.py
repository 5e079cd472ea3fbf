"""Connect to Ray and set up the workers of a search: shared data, capacity and stop flag."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray import tune

from cluster.addresses import address_to_join
from cluster.resources import Resources, Share, name_of_actor
from cluster.session import ray_session
from results.run import Run
from training.encoder import Encoder
from tuning.checkpoints import Checkpoints
from tuning.checks import check_joined_nodes, resources_for
from tuning.config import Configuration
from tuning.trainable import SearchData, Surroundings, run_trial
from tuning.workers import StopFlag


@dataclass(frozen=True, kw_only=True)
class WorkerPool:
    """The workers of one search; Ray must be connected."""

    resources: Resources
    """Of one trial."""
    trainable: Any
    """The trial's function with its data, which is in the object store once."""
    is_joined: bool
    """Whether the search joined a cluster that it did not start."""
    _share: Share
    _limit: int | None
    _flag: StopFlag

    def capacity(self) -> int:
        """Return the number of trials that may run at the moment, at least 1."""
        num = self._share()
        return max(num if self._limit is None else min(self._limit, num), 1)

    def halt(self, flag: str) -> None:
        """Make all trials that watch a flag write a checkpoint and end; do not wait."""
        self._flag.set(flag)


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
        run: its name is that of the search on the cluster.
        resources: of one trial.
        checkpoints: where trials keep their checkpoints.
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
    """A connection to a Ray that can run trials."""

    resources: Resources
    """Of one trial."""
    dashboard: str | None
    """HOST:PORT; None where Ray is installed without it."""


@contextmanager
def connected(
    configuration: Configuration, metadata: Mapping[str, str], encoders: Mapping[str, Encoder]
) -> Iterator[Connection]:
    """Connect to Ray, or start one, for the time of a `with` block.

    Args:
        configuration: with the address of Ray and the resources of a trial.
        metadata: what the dashboard displays about the job besides its command.
        encoders: by name; each node of a cluster builds a model of each.

    Raises:
        ClusterError: no Ray answers, or none can be started.
        InputError: no node can run a trial, or one cannot build a model.
        StorageError: a node does not see the shared directory or storage.
    """
    with ray_session(configuration.cluster.address, metadata=metadata) as dashboard:
        resources = resources_for(configuration)
        check_joined_nodes(configuration, resources, encoders)
        yield Connection(resources=resources, dashboard=dashboard)
