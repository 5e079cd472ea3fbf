"""Write TensorBoard's event files: curves of each trial, and the HParams page of the search."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary

from results.score_names import BESIDE_THE_SCORE
from results.tensorboard import (
    EXAMPLES,
    SCORE,
    CurveWriter,
    describe_end,
    describe_experiment,
    describe_start,
)
from results.trial_states import SearchStatus, Source
from tuning.config import Configuration, objective_of
from tuning.observers import Observer
from tuning.space import Domain, Value, as_number, is_number, to_text
from tuning.trials import Trial

_CURVES = (
    *("train_loss", "eval_loss", SCORE, *BESIDE_THE_SCORE),
    *("learning_rate", EXAMPLES),
)


@dataclass(kw_only=True)
class TensorBoard(Observer):
    """Writes event files, in one directory per trial; only running trials keep a file open.

    Each directory repeats the whole search space, which is smaller than a curve, so that any subset
    of the directories can be read.
    """

    directory: Path
    configuration: Configuration
    _writers: dict[str, CurveWriter] = field(default_factory=dict)

    def started(self, trial: Trial) -> None:
        """Open the event file of the trial."""
        self._writer(trial)

    def evaluated(self, trial: Trial) -> None:
        """Add a point to each curve."""
        evaluation = trial.evaluations[-1]
        scalars = {name: getattr(evaluation, name) for name in _CURVES}
        self._writer(trial).write(scalars, evaluation.examples)

    def ended(self, trial: Trial) -> None:
        """Write the end of the trial; a failed or diverged trial has no score, whatever it had."""
        writer, failed = self._writer(trial), trial.has_failed
        if failed and trial.evaluations:
            writer.write({SCORE: math.nan}, trial.evaluations[-1].examples)
        writer.describe(describe_end(failed=failed))
        self._writers.pop(trial.trial_id).close()

    def closed(self, status: SearchStatus) -> None:
        """Close the files of trials that have not finished."""
        for trial_id in list(self._writers):
            self._writers.pop(trial_id).close()

    def _writer(self, trial: Trial) -> CurveWriter:
        if trial.trial_id not in self._writers:
            writer = CurveWriter(self.directory / trial.trial_id)
            writer.describe(describe_space(self.configuration))
            writer.describe(describe_start(describe_trial(self.configuration, trial)))
            self._writers[trial.trial_id] = writer
        return self._writers[trial.trial_id]


def describe_trial(configuration: Configuration, trial: Trial) -> Mapping[str, float | str]:
    """Return the searched values, the source of the trial and its replicate."""
    space = configuration.search.space
    values = {name: _as_cell(space[name], value) for name, value in trial.parameters.items()}
    return {**values, "source": trial.source.value, "replicate": trial.replicate}


def _as_cell(domain: Domain, value: Value) -> float | str:
    """Return a number, or the text of a value whose field has words, true and false, or null."""
    return value if is_number(value) and domain.is_numeric else to_text(value)


def describe_space(configuration: Configuration) -> Summary:
    """Describe all values that a trial can have; those of trial 0 may lie outside the space."""
    search = configuration.search
    default = configuration.default_point
    intervals: dict[str, tuple[float, float]] = {}
    choices: dict[str, Sequence[float | str]] = {}
    for name, domain in search.space.items():
        if domain.choice is None:
            values = [*domain.bounds, *filter(is_number, [default[name]])]
            intervals[name] = min(values), max(values)
        elif domain.is_numeric and is_number(default[name]):
            choices[name] = sorted(map(as_number, {*domain.choice, default[name]}))
        else:
            choices[name] = [to_text(one) for one in dict.fromkeys([default[name], *domain.choice])]
    last = search.confirm_max_replicates if search.confirm_replicates else 0
    sources = [source.value for source in Source]
    return describe_experiment(
        {**intervals, "replicate": (0, last)},
        {**choices, "source": sources},
        score_label=objective_of(configuration).label,
    )
