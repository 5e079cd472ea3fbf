"""Assemble the objects of one search: policy, observers and driver; add an observer here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from results.run import Run
from results.trial_states import SearchStatus
from tuning.checkpoints import CheckpointRemover, Checkpoints
from tuning.config import objective_of
from tuning.driver import Driver
from tuning.forecast import Progress
from tuning.initial_state import InitialState
from tuning.log_lines import LogLines
from tuning.observers import Observer
from tuning.planned import PlannedAndTaken, plan_search, start_up_seconds
from tuning.policy import make_policy
from tuning.ray_metrics import RayMetrics
from tuning.record import describe_facts
from tuning.rehearsal import Rehearsal
from tuning.run_files import RunFiles
from tuning.tensorboard import TensorBoard
from tuning.tracking import trackers
from tuning.worker_pool import WorkerPool


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search that is ready to run."""

    files: RunFiles
    driver: Driver

    def close(self, status: SearchStatus) -> None:
        """Notify all observers that the search has ended.

        Raises:
            OSError: a file cannot be written.
        """
        self.driver.notify(lambda observer: observer.closed(status))
        if self.driver.write_error is not None:
            raise self.driver.write_error


def assemble(
    initial: InitialState,
    *,
    run: Run,
    pool: WorkerPool,
    checkpoints: Checkpoints,
    rehearsal: Rehearsal | None,
    command: str,
    outer_error: Callable[[], Exception | None],
    clock: Callable[[], float],
    baseline_observer: Callable[[RunFiles, str], Observer],
    watchers: Sequence[Observer],
) -> Search:
    """Assemble a search.

    Args:
        initial: the configuration, its data and the trials of an earlier start.
        run: the run whose files are written.
        pool: the pool of workers.
        checkpoints: the checkpoints of running trials.
        rehearsal: what a trial took on this machine; None: that is not known.
        command: the command that repeats the run; that of an earlier start takes precedence.
        outer_error: return an error outside the driver that ends the search; None: there is none.
        clock: return the seconds since this start.
        baseline_observer: takes the files and the label of the score, and adds the baseline.
        watchers: further observers.
    """
    configuration, preparation = initial.configuration, initial.preparation
    earlier = initial.earlier_record
    policy = make_policy(
        configuration,
        preparation.plan,
        num_rows=preparation.num_rows,
        validation_labels=preparation.data.validation.labels,
        store=initial.store,
        last_evaluated=initial.last_evaluated,
        first_points=initial.warm_start.points,
    )
    facts = describe_facts(
        configuration,
        preparation.plan,
        num_rows=preparation.num_rows,
        summary=preparation.data.summary,
        command=earlier.get("command", command),
        has_gpu=pool.resources.gpus > 0,
        warm_start=initial.warm_start.entries,
        encoders=[one.as_record() for one in preparation.encoders.values()],
    )
    memory_limits = initial.memory_limits
    progress = Progress(
        policy=policy,
        clock=clock,
        rehearsal=rehearsal.sharing(pool.resources.gpus) if rehearsal else None,
        slots=pool.capacity(),
        starts_at=clock() + start_up_seconds(pool.capacity()),
    )
    plan = plan_search(progress, num_final_rows=preparation.num_final_rows)
    planned = PlannedAndTaken(plan=plan, store=policy.store, clock=clock, started_at=clock())
    files = RunFiles(
        run,
        configuration=configuration,
        policy=policy,
        facts=facts,
        memory_limits=memory_limits,
        baseline=earlier.get("baseline"),
        progress=progress,
        planned=planned,
        started_at=earlier.get("started_at"),
        seconds_before=earlier.get("seconds", 0.0),
    )
    observers = [
        progress,  # before the files, which contain it
        planned,
        baseline_observer(files, objective_of(configuration).label),
        files,
        TensorBoard(directory=run.tensorboard, configuration=configuration),
        LogLines(
            score_label=objective_of(configuration).label,
            plan=preparation.plan,
            num_rows=preparation.num_rows,
            with_nodes=pool.is_joined,
        ),
        RayMetrics(run.directory.name, policy.store, policy.ranking),
        *trackers(run, configuration, policy.store),
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
