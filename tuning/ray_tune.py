"""Run the driver's trials with Ray Tune: its searcher, scheduler, callback and stopper."""

import json
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from os import devnull
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback as TuneCallback
from ray.tune import Stopper
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher as TuneSearcher

from cluster.addresses import ClusterError
from results.run import Run
from results.trial_states import Status
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.driver import Driver
from tuning.errors import SearchAbortedError, SearchInterruptedError, describe_endings
from tuning.policy import Policy
from tuning.signals import StopSignal
from tuning.trainable import (
    DEVICE_MEMORY,
    ENDING,
    EVALUATION,
    MEMORY,
    MICRO_BATCH_SIZE,
    TRIAL_ID,
    WORKER,
)
from tuning.trials import Ending, NoTrial
from tuning.worker_pool import WorkerPool
from tuning.workers import Worker

logger = logging.getLogger(__name__)

NO_MEMORY = "its node ran out of memory"
_SECONDS_BETWEEN_CHECKS = 1.0


class NodeOutOfMemoryError(Exception):
    """Ray killed a worker because its node ran out of memory, and Tune stopped with this error."""


class _NotSaved:
    """Keeps the driver out of the state that Tune pickles, which nothing reads again."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DrivenSearcher(_NotSaved, TuneSearcher):
    """Asks the driver for the next trial."""

    def __init__(self, driver: Driver) -> None:
        """Take the driver."""
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's configuration, None to be asked again later, or the end."""
        trial = self._driver.next_trial()
        if trial is NoTrial.WAIT:
            return None
        return TuneSearcher.FINISHED if trial is NoTrial.DONE else trial

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the driver was notified already."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a resume reads the run's own files."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: a resume reads the run's own files."""


class DrivenScheduler(_NotSaved, FIFOScheduler):
    """Asks the driver whether a trial continues, and forwards what trials report."""

    def __init__(self, driver: Driver) -> None:
        """Take the driver."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's own
        self._driver = driver
        self._kept = KeptWorkers()

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose no trial, so that Tune starts them as they come; update how many workers are kept.

        Tune then gives a free process to the newest trial. Ray's own choice is the oldest waiting
        trial, whose process is already starting and would be killed. Tune calls this at each step.
        """
        self._kept.keep(tune_controller, self._driver.num_to_keep)

    def on_trial_add(self, tune_controller: Any, trial: RayTrial) -> None:
        """Keep workers with the resources of this trial from now on."""
        self._kept.set_resources(trial.placement_group_factory)

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """Forward what a trial reports; return STOP or CONTINUE."""
        trial_id, driver = trial.config[TRIAL_ID], self._driver
        continues = True
        if peak := result.get(MEMORY):
            driver.measured_memory(trial_id, process=peak, device=result.get(DEVICE_MEMORY))
        if ending := result.get(ENDING):
            driver.ended(trial_id, Ending.from_json(ending))
            # At once, not when its function has returned: the next trial, which may start from now
            # on, would get a new process meanwhile.
            continues = False
        elif evaluation := result.get(EVALUATION):
            continues = driver.reported(trial_id, Evaluation(**json.loads(evaluation)))
        elif worker := result.get(WORKER):
            driver.placed(trial_id, Worker(**json.loads(worker)))
        elif limit := result.get(MICRO_BATCH_SIZE):
            driver.limited_memory(trial_id, *json.loads(limit))
        if not continues:
            self._kept.keep(tune_controller, driver.num_to_keep)
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)


class KeptWorkers:
    """Keeps free workers, with their models and CUDA graphs, for trials that are still to come.

    Tune itself keeps one, or more if more trials are staged than it has workers; between the last
    trials of the search and the confirmation no trial is staged. tests/tuning/test_workers.py
    guards this use of Tune's internals.
    """

    def __init__(self) -> None:
        """Leave the number to Tune at first."""
        self._num = 0
        self._resources: Any = None

    def set_resources(self, resources: Any) -> None:
        """Set the resources of a trial, by which Tune's cache groups its workers."""
        self._resources = resources

    def keep(self, tune_controller: Any, num: int) -> None:
        """Let Tune keep `num` free workers besides those for the trials that it has staged."""
        if self._resources is not None:
            cache = tune_controller._tune_controller._actor_cache
            cache.increase_max(self._resources, by=num - self._num)
            self._num = num


class LostTrials(_NotSaved, TuneCallback):
    """Notifies the driver of trials that ended without a report, and of each of Tune's steps."""

    def __init__(self, driver: Driver) -> None:
        """Take the driver."""
        self._driver = driver
        self._checked_at = float("-inf")
        self._trials: list[RayTrial] = []
        self._finished: set[str] = set()

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """Log that the trial lost its process or node and is resumed, after a wait for memory."""
        kind, count = kind_of_failure(trial), trial.num_failures
        logger.warning(
            "trial %s lost its process or node (%s); it is resumed from its checkpoint, failure %d"
            " of at most %d",
            *(trial.config[TRIAL_ID], kind, count, trial.max_failures),
        )
        if kind == NO_MEMORY:
            self._driver.wait_for_memory(count)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, with Ray's reason."""
        # Without numbers of processes and nodes, so that equal failures have equal messages.
        reason = kind_of_failure(trial)
        self._fail(trial, f"its process or node was lost {trial.num_failures} times ({reason})")

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        """Notify the driver of the step, and once a second end trials that Tune has given up.

        Tune gives up a trial without a callback if its worker did not become free in time; the
        search would wait for that trial forever.
        """
        self._driver.idle()
        self._trials = trials
        if time.monotonic() >= self._checked_at + _SECONDS_BETWEEN_CHECKS:
            self._checked_at = time.monotonic()
            self.check()

    def check(self) -> None:
        """End as failed the trials that Tune lists as errors."""
        for trial in self._trials:
            if trial.status == RayTrial.ERROR:
                self._fail(trial, "its worker did not become free for it")

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, unless it has reported its end."""
        self._fail(trial, "it ended without a report")

    def _fail(self, trial: RayTrial, error: str) -> None:
        if trial.trial_id in self._finished:
            return  # the same trial of ours may have started again as another one of Tune's
        self._finished.add(trial.trial_id)
        ours = trial.config[TRIAL_ID]
        if self._driver.lost_before_start(ours, max_restarts=trial.max_failures):
            logger.warning("trial %s starts again: its worker was lost before it started", ours)
        else:
            self._driver.ended(ours, Ending(status=Status.FAILED, error=error))


class DrivenStopper(_NotSaved, Stopper):
    """Ends the experiment when the driver has finished."""

    def __init__(self, driver: Driver) -> None:
        """Take the driver."""
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: the scheduler decides when a trial ends."""
        return False

    def stop_all(self) -> bool:
        """Return whether all trials must end; Tune asks about ten times a second."""
        return self._driver.is_finished


def kind_of_failure(trial: RayTrial) -> str:
    """Return why the trial's process was last lost, in Ray's words without numbers."""
    # Not by `get_error`, which reads a copy that is made later.
    file = Path(trial.error_file or devnull)
    text = file.read_text("utf-8", errors="replace") if file.exists() else ""
    text = text.rpartition("Failure #")[2]
    if "memory usage threshold" in text or "OutOfMemory" in text:
        return NO_MEMORY
    lines = text.strip().splitlines() or ["no reason known"]
    reasons = [line for line in lines if "is dead because" in line]
    sentence = (reasons or lines)[-1].strip().partition(". ")[0].rstrip(".")
    return re.sub(r" [0-9a-f]{8,}|\d[\d.:]*", "", sentence)[:200]


def run_with_ray(
    driver: Driver,
    trainable: Any,
    *,
    resources: dict[str, float],
    max_failures: int,
    storage_path: str,
    name: str,
) -> None:
    """Run the driver's trials in one experiment until all have ended.

    Args:
        driver: connects Tune and the policy.
        trainable: a function of a trial's configuration, with its data bound.
        resources: `cpu` and `gpu` of a trial.
        max_failures: restarts of a trial whose process or node was lost.
        storage_path: directory on this machine for Ray's own state, which nothing reads.
        name: directory in it.

    Raises:
        NodeOutOfMemoryError: a node ran out of memory; the live trials are lost.
    """
    # Tune copies its own state while it rewrites it, and sometimes logs an error. Nothing reads
    # that state: a search is resumed from the run's files.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    lost = LostTrials(driver)
    named: Callable[[RayTrial], str] = lambda trial: str(trial.config[TRIAL_ID])  # noqa: E731
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=DrivenSearcher(driver),
            scheduler=DrivenScheduler(driver),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=named,
            trial_dirname_creator=named,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage_path,
            stop=DrivenStopper(driver),
            failure_config=tune.FailureConfig(max_failures=max_failures),
            callbacks=[lost],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
        lost.check()
    except RuntimeError as error:
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        logger.warning(
            "a node ran out of memory, and Ray killed a worker for it; running trials are resumed"
            " from their checkpoints"
        )
        raise NodeOutOfMemoryError from error


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Runs a driver's trials on Ray; Ray must be connected."""

    driver: Driver
    pool: WorkerPool
    configuration: Configuration
    run: Run
    signal: StopSignal

    def fit(self) -> None:
        """Run all trials, from the first one to the last confirmation.

        Another experiment continues the search if a node runs out of memory, which stops Tune, or
        if a worker hangs in a stopped trial and does not become free.

        Raises:
            SearchInterruptedError: a signal came.
            ClusterError: Ray ended the trials.
            InputError: the shipped model would not predict as it does in training.
            OSError: the run's files, or a checkpoint, cannot be written.
        """
        self.signal.call_in_handler(self.driver.interrupt)
        num_failures = 0
        while True:
            known = self._num_evaluations()
            try:
                self._fit_once()
                if not self.driver.policy.needs_workers:
                    break
            except NodeOutOfMemoryError as error:
                num_failures = 1 if self._num_evaluations() > known else num_failures + 1
                if num_failures > self.configuration.cluster.max_failures:
                    raise ClusterError(
                        f"a node ran out of memory {num_failures} times before any trial reached"
                        " its next evaluation; lower search.max_concurrent or batch sizes, or end"
                        " other programs there, then continue with --resume"
                    ) from error
                self.driver.wait_for_memory(num_failures)
        if self.driver.error is not None:
            raise self.driver.error
        self._raise_if_interrupted()

    def _fit_once(self) -> None:
        self._raise_if_interrupted()
        name = self.driver.start_experiment()
        try:
            run_with_ray(
                self.driver,
                self.pool.trainable,
                resources=self.pool.resources.as_ray(),
                max_failures=self.configuration.cluster.max_failures,
                storage_path=str(self.run.scratch),
                name=f"search-{name}",
            )
        except (NodeOutOfMemoryError, OSError):
            self._raise_if_interrupted()
            raise
        except Exception as error:
            if self.driver.error is None:
                self._raise_if_interrupted()
                reason = " ".join(str(error).split())[-300:]
                raise ClusterError(
                    f"Ray ended the search ({type(error).__name__}: {reason}); check the cluster,"
                    " then continue with --resume"
                ) from error
        finally:
            shutil.rmtree(self.run.scratch, ignore_errors=True)

    def _num_evaluations(self) -> int:
        return sum(len(trial.evaluations) for trial in self.driver.policy.store)

    def _raise_if_interrupted(self) -> None:
        if self.signal.received is not None:
            raise SearchInterruptedError(self.run.directory, self.signal.exit_code)


def check_has_score(policy: Policy, run: Run) -> None:
    """Check that a search that has ended has a winner.

    Raises:
        SearchAbortedError: the first trials fail alike, or no trial has a score.
    """
    if policy.aborted_by:
        raise SearchAbortedError(
            f"the first trials all failed with the same error: {policy.aborted_by}; correct it and"
            " start again"
        )
    if not policy.has_winner:
        endings = describe_endings(trial.status for trial in policy.store)
        raise SearchAbortedError(
            f"no trial ended with a score, or each predicts one class for every row ({endings});"
            f" see {run.trials}"
        )
    if policy.confirmation_failed_by:
        logger.warning(
            "the first trials of the confirmation failed: %s", policy.confirmation_failed_by
        )
