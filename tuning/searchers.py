"""Where configurations come from: drawn, a grid's points, or Optuna's sampler."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from training.config import TrainingConfig
from tuning.config import SearchConfig
from tuning.space import Parameters, Space, default_point, grid_points, sample
from tuning.trials import Trial

SCORE = "score"
"""What Optuna is told, higher is better."""


class Searcher(Protocol):
    """Gives the configuration of each trial but trial 0, and is told how trials went."""

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Parameters of trial `number` (1, 2, ...)."""
        ...

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a running trial."""
        ...

    def ended(self, trial: Trial) -> None:
        """Take the end of a trial that was suggested here."""
        ...

    def recall(self, trials: Sequence[Trial]) -> None:
        """Take ended trials of an earlier start of the same search."""
        ...


class FixedSearcher:
    """Configurations known beforehand: the same whatever the trials show."""

    def __init__(self, search: SearchConfig, training: TrainingConfig) -> None:
        """Take the space and seed; a grid leaves out the point that trial 0 is."""
        self._search = search
        default = default_point(search.space, training)
        self._points = [point for point in grid_points(search.space) if point != default]

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Parameters of trial `number`: a function of seed and number alone."""
        if self._search.algorithm == "grid":
            return self._points[number - 1]
        return sample(self._search.space, seed=self._search.seed, number=number)

    def evaluated(self, trial: Trial) -> None:
        """Nothing to learn."""

    def ended(self, trial: Trial) -> None:
        """Nothing to learn."""

    def recall(self, trials: Sequence[Trial]) -> None:
        """Nothing to learn."""


class TpeSearcher:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) behind Ray's OptunaSearch.

    A stopped trial is told as pruned with its evaluations, a failed one as failed: neither is
    mistaken for a trial with a low-budget score at the full budget. A suggestion is a function of
    the seed, its number and what was told before, so that a resumed search neither repeats its
    first draws nor departs from what it would have suggested.
    """

    def __init__(self, search: SearchConfig) -> None:
        """Take the space and the seed of the sampler."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space: Space = search.space
        self._live: set[str] = set()
        self._sampler = _NumberedTpe(search.seed)
        self._optuna = OptunaSearch(
            space={name: domain.distribution() for name, domain in self._space.items()},
            metric=SCORE,
            mode="max",
            sampler=self._sampler,
        )

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Parameters that the sampler chooses from what it has been told."""
        self._sampler.begin(number)
        suggested: Mapping[str, Any] | None = self._optuna.suggest(trial_id)
        assert suggested is not None
        self._live.add(trial_id)
        return {name: suggested[name] for name in self._space}

    def evaluated(self, trial: Trial) -> None:
        """Tell the last evaluation; all trials are evaluated at the same training rows seen."""
        if trial.trial_id in self._live and trial.evaluations[-1].is_finite:
            step = len(trial.evaluations) - 1  # as `add_evaluated_point` counts them
            score = trial.evaluations[-1].score
            self._optuna.on_trial_result(trial.trial_id, {SCORE: score, "training_iteration": step})

    def ended(self, trial: Trial) -> None:
        """Tell the end: a score only from the full budget."""
        if trial.trial_id not in self._live:
            self.recall([trial])
            return
        self._live.discard(trial.trial_id)
        score = trial.final_score
        self._optuna.on_trial_complete(
            trial.trial_id,
            result=None if score is None else {SCORE: score},
            error=trial.has_failed,
        )

    def recall(self, trials: Sequence[Trial]) -> None:
        """Tell ended trials as evaluated points; those outside the space cannot be told."""
        for trial in trials:
            if trial.has_failed or not trial.curve:
                continue
            if not all(
                _contains(self._space, name, value) for name, value in trial.parameters.items()
            ):
                continue
            score = trial.final_score
            self._optuna.add_evaluated_point(
                trial.parameters,
                trial.curve[-1][1] if score is None else score,
                pruned=score is None,
                intermediate_values=[value for _, value in trial.curve],
            )


class _NumberedTpe(optuna.samplers.BaseSampler):
    """A TPE sampler whose draws begin anew for each suggestion, from the seed and its number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.begin(0)

    def begin(self, number: int) -> None:
        state = np.random.SeedSequence([self._seed, number]).generate_state(1)
        self._tpe = optuna.samplers.TPESampler(seed=int(state[0]))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)


def make_searcher(search: SearchConfig, training: TrainingConfig) -> Searcher:
    """The searcher of `search.algorithm`."""
    return TpeSearcher(search) if search.algorithm == "tpe" else FixedSearcher(search, training)


def num_requested(search: SearchConfig, training: TrainingConfig) -> int:
    """Trials of the search, trial 0 included: every point of a grid, else `trials`."""
    if search.algorithm != "grid":
        return search.trials
    points = grid_points(search.space)
    return len(points) + (default_point(search.space, training) not in points)


def _contains(space: Space, name: str, value: float) -> bool:
    domain = space[name]
    if domain.choice is not None:
        return value in domain.choice
    low, high = domain.bounds
    return low <= value <= high
