"""The objects of one search, put together: each is complete when it is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from results.run import Run
from results.trial_states import SearchStatus
from tuning.checkpoints import CheckpointRemover, Checkpoints
from tuning.config import objective_of
from tuning.driver import Driver
from tuning.forecast import Progress
from tuning.initial_state import Opening
from tuning.log_lines import LogLines
from tuning.observers import Observer
from tuning.policy import make_policy
from tuning.ray_metrics import RayMetrics
from tuning.record import describe_facts
from tuning.run_files import RunFiles
from tuning.tensorboard import TensorBoard
from tuning.worker_pool import WorkerPool


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that can be run."""

    files: RunFiles
    driver: Driver

    def close(self, status: SearchStatus) -> None:
        """Tell all observers of the end.

        Raises:
            OSError: a file cannot be written.
        """
        self.driver.tell(lambda observer: observer.closed(status))
        if self.driver.write_error is not None:
            raise self.driver.write_error


def assemble(
    opening: Opening,
    *,
    run: Run,
    pool: WorkerPool,
    checkpoints: Checkpoints,
    command: str,
    outer_error: Callable[[], Exception | None],
    clock: Callable[[], float],
    watchers: Sequence[Observer],
) -> Search:
    """Put a search together.

    Args:
        opening: data, configuration and what an earlier start left.
        run: whose files are written.
        pool: of the workers.
        checkpoints: where trials keep theirs.
        command: that repeats the run; an earlier start's goes before.
        outer_error: what ends the search from outside; None: nothing.
        clock: seconds since this start.
        watchers: further observers.
    """
    configuration, preparation = opening.configuration, opening.preparation
    before = opening.before
    policy = make_policy(
        configuration,
        preparation.plan,
        num_rows=preparation.num_rows,
        num_validation_rows=len(preparation.data.validation.labels),
        store=opening.store,
        last_evaluated=opening.last_evaluated,
    )
    facts = describe_facts(
        configuration,
        preparation.plan,
        num_rows=preparation.num_rows,
        summary=preparation.data.summary,
        command=before.get("command", command),
        has_gpu=pool.resources.gpus > 0,
    )
    memory_limits = dict(before.get("rows_at_once", {}))
    progress = Progress(policy=policy, clock=clock)
    files = RunFiles(
        run,
        configuration=configuration,
        policy=policy,
        facts=facts,
        memory_limits=memory_limits,
        progress=progress,
        started_at=before.get("started_at"),
        seconds_before=before.get("seconds", 0.0),
    )
    observers = [
        progress,  # which the files tell
        files,
        TensorBoard(directory=run.tensorboard, configuration=configuration),
        LogLines(objective_of(configuration).label, tells_places=pool.is_joined),
        RayMetrics(run.directory.name, policy.store),
        CheckpointRemover(checkpoints, is_written=lambda: driver.write_error is None),
        *watchers,
    ]
    driver = Driver(
        policy=policy,
        observers=observers,
        capacity=pool.capacity,
        halt=pool.halt,
        outer_error=outer_error,
        memory_limits=memory_limits,
        clock=clock,
    )
    return Search(files=files, driver=driver)
