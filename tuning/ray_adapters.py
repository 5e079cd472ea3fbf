"""Ray Tune's parts, each handing over to the conductor."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import Callback as TuneCallback
from ray.tune import Stopper
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from training.metrics import Evaluation
from tuning.conductor import Conductor
from tuning.losses import NO_MEMORY, NodeOutOfMemoryError, kind_of_loss, wait_for_memory
from tuning.trainable import (
    DEVICE_MEMORY,
    ENDING,
    EVALUATION,
    ROWS_AT_ONCE,
    TRIAL_ID,
    WORKER,
    to_config,
)
from tuning.trials import Ending, Trial
from tuning.workers import Worker

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 1.0


class Watcher(Protocol):
    """Who is told of what decides nothing."""

    def placed(self, trial: Trial, worker: Worker) -> None:
        """Take where a trial begins, or goes on."""

    def reserved(self, trial: Trial, num_bytes: int) -> None:
        """Take the most device memory that the process of a trial has held."""

    def stepped(self) -> None:
        """Do what is due, many times a second."""


class _NotSaved:
    """Keeps the conductor out of the state that Tune pickles; nothing is read from it again."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class ConductedSearcher(_NotSaved, Searcher):
    """Asks the conductor for the next trial."""

    def __init__(self, conductor: Conductor) -> None:
        """Take the conductor."""
        super().__init__()
        self._conductor = conductor

    def suggest(self, trial_id: str) -> Any:
        """The next trial's configuration, None to be asked again later, or the end."""
        trial = self._conductor.next_trial()
        if trial == "wait":
            return None
        if trial == "finished":
            return Searcher.FINISHED
        conductor = self._conductor
        return to_config(trial, phase=conductor.phase, rows_at_once=conductor.rows_at_once)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the conductor has heard it already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resume reads the run's own files."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resume reads the run's own files."""


class ConductedScheduler(_NotSaved, FIFOScheduler):
    """Asks the conductor whether a trial may go on, and passes on what trials tell."""

    def __init__(self, conductor: Conductor, watcher: Watcher) -> None:
        """Take the conductor, and who is told of the rest."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's own
        self._conductor, self._watcher = conductor, watcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nothing: Tune starts trials as they come, and gives a free process to the newest.

        The oldest that waits, Ray's choice, has a process on its way, which would be killed.
        """

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE."""
        trial_id = trial.config[TRIAL_ID]
        if ending := result.get(ENDING):
            self._conductor.end(trial_id, Ending(**json.loads(ending)))
            # At once, not when its function has returned: the next trial, which the conductor has
            # room for from now on, would get a process of its own meanwhile.
            return str(TrialScheduler.STOP)
        goes_on = True
        if evaluation := result.get(EVALUATION):
            shown = Evaluation(**json.loads(evaluation))
            goes_on = self._conductor.report(trial_id, shown)
        if goes_on:
            self._pass_on(self._conductor.trials[trial_id], result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def _pass_on(self, trial: Trial, result: dict[str, Any]) -> None:
        """Tell of what decides nothing about the trial itself."""
        if worker := result.get(WORKER):
            process = Worker(**json.loads(worker))
            self._conductor.heed(lambda: self._watcher.placed(trial, process))
        if lowered := result.get(ROWS_AT_ONCE):
            device, rows = json.loads(lowered)
            self._conductor.rows_at_once[device] = rows
            logger.warning(
                "%s: a batch does not fit in the memory of %s; from now on %d rows at once, the"
                " batch size stays",
                *(trial.trial_id, device, rows),
            )
        if reserved := result.get(DEVICE_MEMORY):
            self._watcher.reserved(trial, reserved)


class LostTrials(_NotSaved, TuneCallback):
    """Tells the conductor of trials that ended without a word, their process lost too often.

    Tune's steps are heard here, too: the watcher is told of each.
    """

    def __init__(self, conductor: Conductor, watcher: Watcher) -> None:
        """Take the conductor, and who is told of each step."""
        self._conductor, self._watcher = conductor, watcher
        self._looked_at = float("-inf")
        self._trials: list[RayTrial] = []

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """Say that the trial lost its process or node and goes on; not at once without memory."""
        kind, count = kind_of_loss(trial), trial.num_failures
        logger.warning(
            "%s lost its process or node (%s); it goes on from its checkpoint, time %d of at most"
            " %d",
            *(trial.config[TRIAL_ID], kind, count, trial.max_failures),
        )
        if kind == NO_MEMORY:
            wait_for_memory(self._conductor, count)

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, with Ray's reason."""
        # Without numbers of processes and nodes, so that trials lost alike are seen to be.
        error = f"its process or node was lost {trial.num_failures} times ({kind_of_loss(trial)})"
        self._conductor.end(trial.config[TRIAL_ID], Ending(status="failed", error=error))

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        """End as failed what Tune has given up without telling anybody.

        So it does where the worker was not free in time for the next trial; the search would wait
        for that one for ever.
        """
        self._conductor.heed(self._watcher.stepped)
        self._trials = trials
        if time.monotonic() >= self._looked_at + _SECONDS_BETWEEN_LOOKS:
            self._looked_at = time.monotonic()
            self.look()

    def look(self) -> None:
        """Look at all trials there are."""
        for trial in self._trials:
            if trial.status == RayTrial.ERROR:
                ending = Ending(status="failed", error="its worker did not become free for it")
                self._conductor.end(trial.config[TRIAL_ID], ending)

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, unless it has told its end."""
        ending = Ending(status="failed", error="it ended without saying how")
        self._conductor.end(trial.config[TRIAL_ID], ending)


class ConductedStopper(_NotSaved, Stopper):
    """Tells trials to halt when the conductor says so, and ends everything when it is over."""

    def __init__(self, conductor: Conductor, halt: Callable[[], None]) -> None:
        """Take the conductor, and what tells all running trials to halt."""
        self._conductor, self._halt = conductor, halt
        self._is_told = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether one trial shall end: the scheduler says that."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials shall end; Tune asks about ten times a second."""
        if self._conductor.is_halting and not self._is_told:
            self._is_told = True
            self._halt()
        return self._conductor.is_over


def run_with_ray(
    conductor: Conductor,
    trainable: Any,
    *,
    watcher: Watcher,
    halt: Callable[[], None],
    resources: dict[str, float],
    max_failures: int,
    storage_path: str,
    name: str,
) -> None:
    """Run the conductor's trials to their ends.

    Args:
        conductor: decides.
        trainable: a function of a trial's configuration, its data bound already.
        watcher: told where trials run.
        halt: tells all running trials to write a checkpoint and end.
        resources: `cpu` and `gpu` of a trial.
        max_failures: restarts of a trial whose process or node was lost.
        storage_path: directory on this machine for Ray's own state, which nothing reads.
        name: directory in it.

    Raises:
        NodeOutOfMemoryError: a node ran out of memory; the live trials are lost.
    """
    # Tune copies its own state while it rewrites it, and at times fails aloud. Nothing reads that
    # state: the run's files are what a search goes on from.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    lost = LostTrials(conductor, watcher)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=ConductedSearcher(conductor),
            scheduler=ConductedScheduler(conductor, watcher),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config[TRIAL_ID]),
            trial_dirname_creator=lambda trial: str(trial.config[TRIAL_ID]),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage_path,
            stop=ConductedStopper(conductor, halt),
            failure_config=tune.FailureConfig(max_failures=max_failures),
            callbacks=[lost],
            verbose=0,
        ),
    )
    try:
        tuner.fit()
        lost.look()
    except RuntimeError as error:
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        logger.warning(
            "a node ran out of memory, and Ray ended a worker for it; running trials go on from"
            " their checkpoints"
        )
        raise NodeOutOfMemoryError from error
