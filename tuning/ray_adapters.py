"""Ray Tune's parts, each handing over to the conductor."""

import json
import logging
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from training.metrics import Evaluation
from tuning.conductor import Conductor, Ending
from tuning.trainable import ENDING, EVALUATION, TRIAL_ID, to_config


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
        return Searcher.FINISHED if trial == "finished" else to_config(trial)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the conductor has heard it already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resume reads the run's own files."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resume reads the run's own files."""


class ConductedScheduler(_NotSaved, FIFOScheduler):
    """Asks the conductor whether a trial may go on."""

    def __init__(self, conductor: Conductor) -> None:
        """Take the conductor."""
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's own
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: RayTrial, result: dict[str, Any]) -> str:
        """STOP or CONTINUE."""
        trial_id = trial.config[TRIAL_ID]
        if ending := result.get(ENDING):
            self._conductor.end(trial_id, Ending(**json.loads(ending)))
        elif (evaluation := result.get(EVALUATION)) and not self._conductor.report(
            trial_id, Evaluation(**json.loads(evaluation))
        ):
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)


class LostTrials(_NotSaved, Callback):
    """Tells the conductor of trials that ended without a word, their process lost too often."""

    def __init__(self, conductor: Conductor) -> None:
        """Take the conductor."""
        self._conductor = conductor

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, with Ray's reason."""
        reason = " ".join(str(trial.get_error() or "its process or node was lost").split())[-300:]
        self._conductor.end(trial.config[TRIAL_ID], Ending(status="failed", error=reason))

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        """End the trial as failed, unless it has told its end."""
        ending = Ending(status="failed", error="it ended without saying how")
        self._conductor.end(trial.config[TRIAL_ID], ending)


class ConductedStopper(_NotSaved, Stopper):
    """Ends everything when the conductor is ending."""

    def __init__(self, conductor: Conductor) -> None:
        """Take the conductor."""
        self._conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether one trial shall end: the scheduler says that."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials shall end."""
        return self._conductor.is_ending


def run_with_ray(
    conductor: Conductor,
    trainable: Any,
    *,
    resources: dict[str, float],
    max_failures: int,
    storage_path: str,
    name: str,
) -> None:
    """Run the conductor's trials to their ends.

    Args:
        conductor: decides.
        trainable: a function of a trial's configuration, its data bound already.
        resources: `cpu` and `gpu` of a trial.
        max_failures: restarts of a trial whose process or node was lost.
        storage_path: directory or URI of Ray's own state.
        name: directory in it.
    """
    # Tune copies its own state while it rewrites it, and at times fails aloud. Nothing reads that
    # state: the run's files are what a search goes on from.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=ConductedSearcher(conductor),
            scheduler=ConductedScheduler(conductor),
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.config[TRIAL_ID]),
            trial_dirname_creator=lambda trial: str(trial.config[TRIAL_ID]),
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=storage_path,
            stop=ConductedStopper(conductor),
            failure_config=tune.FailureConfig(max_failures=max_failures),
            callbacks=[LostTrials(conductor)],
            verbose=0,
        ),
    )
    tuner.fit()
