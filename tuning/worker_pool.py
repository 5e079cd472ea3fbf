"""The workers that trials run in: what they share, how many there may be, what halts them."""

from dataclasses import dataclass
from typing import Any

from ray import tune

from cluster.addresses import address_to_join
from cluster.resources import Resources
from cluster.sharing import Share, name_of_actor
from results.run import Run
from tuning.checkpoints import Checkpoints
from tuning.config import Configuration
from tuning.stop_flag import StopFlag
from tuning.trainable import SearchData, Surroundings, run_trial


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
