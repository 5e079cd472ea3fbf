"""Track the trials of a search in MLflow or Weights & Biases, beside the run's own files."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from results.errors import RunError
from results.run import Run
from results.score_names import BESIDE_THE_SCORE
from results.tracker_thread import TrackerThread
from results.tracking import (
    Outcome,
    Point,
    RunEnding,
    TrackedTrial,
    Value,
    make_tracker,
    outcome_of_search,
    prepare_library,
    problem_of_tracker,
)
from results.trial_states import SearchStatus, Status
from training.cli import hide_secrets, is_uri
from training.errors import InputError
from training.metrics import Evaluation
from tuning.config import Configuration, objective_of
from tuning.observers import Observer
from tuning.trials import Trial, TrialStore

_VALUES = ("score", *BESIDE_THE_SCORE, "train_loss", "eval_loss", "learning_rate", "epoch")
_FAILED = (Status.FAILED, Status.DIVERGED)

_TIMEOUT_S = {SearchStatus.COMPLETED: 60.0, SearchStatus.ABORTED: 30.0}
_TIMEOUT_AFTER_SIGNAL_S = 4.0
"""Seconds: soon after it the process ends whatever it does (`tuning.signals.OVERDUE_S`)."""


class Tracking(Observer):
    """Sends every change of a trial to the tracker; a thread of its own waits for the network."""

    def __init__(self, run: Run, configuration: Configuration, store: TrialStore) -> None:
        """Start the thread, and send the trials of an earlier start.

        Args:
            run: the run, whose files are written before this observer is notified.
            configuration: the configuration, which names a tracker.
            store: all trials of the search.
        """
        kind = configuration.output.tracker
        prepare_library(kind)
        self._run = run
        self._configuration = configuration
        self._store = store
        self._points: dict[str, list[Point]] = {}
        self._thread = TrackerThread(
            make_tracker(kind, run), kind, dict(_describe_search(configuration))
        )
        for trial in store:
            self._submit(trial)

    def started(self, trial: Trial) -> None:
        """Send the parameters of the trial."""
        self._submit(trial)

    def evaluated(self, trial: Trial) -> None:
        """Send the last evaluation."""
        self._submit(trial)

    def ended(self, trial: Trial) -> None:
        """Send how the trial ended."""
        self._submit(trial)

    def closed(self, status: SearchStatus) -> None:
        """Send the outcome and the report; trials that may be resumed are marked as killed."""
        for trial in self._store:
            if trial.is_running:
                self._thread.submit(replace(self._describe(trial), ending=RunEnding.KILLED))
        ending = {
            SearchStatus.COMPLETED: RunEnding.FINISHED,
            SearchStatus.ABORTED: RunEnding.FAILED,
        }.get(status, RunEnding.KILLED)
        self._thread.close(self._outcome(ending), _TIMEOUT_S.get(status, _TIMEOUT_AFTER_SIGNAL_S))

    def _outcome(self, ending: RunEnding) -> Outcome:
        with_texts = self._configuration.output.tracker_texts
        try:
            record = self._run.read_record()
        except RunError as error:  # a full disk, which another observer reports
            return Outcome(ending=ending, description=f"no record: {error}")
        return outcome_of_search(self._run, record, ending, with_texts=with_texts)

    def _submit(self, trial: Trial) -> None:
        self._thread.submit(self._describe(trial))

    def _describe(self, trial: Trial) -> TrackedTrial:
        configuration = self._configuration
        parameters = {
            **trial.training.model_dump(mode="json"),
            **trial.parameters,
            "model": _plain_name(str(trial.parameters.get("model", configuration.model.name))),
            "split_seed": trial.split_seed,
        }
        points = self._points.setdefault(trial.trial_id, [])
        points += map(_point, trial.evaluations[len(points) :])
        replicate = f" replicate {trial.replicate}" if trial.is_confirmation else ""
        return TrackedTrial(
            trial_id=trial.trial_id,
            name=f"{trial.trial_id} {trial.source.value}{replicate}",
            kind="confirmation" if trial.is_confirmation else "trial",
            parameters={name: _plain_value(value) for name, value in parameters.items()},
            tags={
                "status": trial.status.value,
                "source": trial.source.value,
                "replicate": str(trial.replicate),
                "stopped_by": trial.stopped_by.value or "nobody",
                **({"error": hide_secrets(trial.error)} if trial.error else {}),
            },
            points=tuple(points),
            ending=_ending(trial),
        )


def check_tracker(configuration: Configuration) -> None:
    """Check that the tracker's library is installed and knows where to send.

    Raises:
        InputError: it is not.
    """
    kind = configuration.output.tracker
    if kind != "none" and (problem := problem_of_tracker(kind)):
        raise InputError(problem)


def trackers(run: Run, configuration: Configuration, store: TrialStore) -> list[Observer]:
    """Return the observer of the configured tracker; none: the search is not tracked."""
    if configuration.output.tracker == "none":
        return []
    return [Tracking(run, configuration, store)]


def _ending(trial: Trial) -> RunEnding | None:
    if trial.is_running:
        return None
    return RunEnding.FAILED if trial.status in _FAILED else RunEnding.FINISHED


def _point(evaluation: Evaluation) -> Point:
    values = {name: float(getattr(evaluation, name)) for name in _VALUES}
    return Point(
        examples=evaluation.examples,
        seconds=evaluation.seconds,
        values={name: value for name, value in values.items() if math.isfinite(value)},
    )


def _describe_search(configuration: Configuration) -> Iterator[tuple[str, Value]]:
    """Yield what describes the whole search and no resume may change."""
    search = configuration.search
    yield "data", _plain_name(configuration.data.path)
    yield "model", _plain_name(configuration.model.name)
    yield "metric", objective_of(configuration).name
    for name in ("algorithm", "scheduler", "seed", "confirm_top", "confirm_replicates"):
        yield name, getattr(search, name)
    for name, domain in search.space.items():
        plain = domain.model_dump(mode="json", exclude_none=True)
        if name == "model":
            plain = {"choice": [_plain_name(str(model)) for model in plain["choice"]]}
        yield f"space.{name}", str(plain)


def _plain_name(location: str) -> str:
    """Return a location without the private directories of a local path, and without secrets."""
    is_local = os.sep in location and not is_uri(location) and Path(location).is_absolute()
    return Path(location).name if is_local else hide_secrets(location)


def _plain_value(value: object) -> Value:
    return value if isinstance(value, int | float | str) else str(value)
