"""Suggest configurations by TPE: Optuna's sampler behind Ray's OptunaSearch.

This module is loaded only where it is used, because Optuna loads pandas and Ray.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from tuning.config import SearchConfig
from tuning.space import Domain, Parameters, Space, contains
from tuning.trials import Trial

SCORE = "score"
"""Name of the score in Optuna; higher is better."""


class TpeSearcher:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) behind OptunaSearch.

    A stopped trial is reported as pruned with its evaluations and a failed one as failed, so that
    a score at a low budget is never taken for one at the full budget. A suggestion is a function of
    the seed, its number and the trials reported before: a resumed search neither repeats its first
    suggestions nor makes others than the unbroken search.
    """

    def __init__(self, search: SearchConfig, first_points: Sequence[Parameters] = ()) -> None:
        """Take the space and the seed of the sampler."""
        self.first_points = first_points
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space: Space = search.space
        self._live: set[str] = set()
        self._sampler = _NumberedTpe(search.seed)
        self._optuna = OptunaSearch(
            space={name: distribution_of(domain) for name, domain in self._space.items()},
            metric=SCORE,
            mode="max",
            sampler=self._sampler,
        )

    def suggest(self, trial_id: str, number: int) -> Parameters:
        """Return a first point, or what the sampler chooses after the trials reported so far."""
        if number <= len(self.first_points):
            return self.first_points[number - 1]  # once it has ended, it is recalled
        self._sampler.reseed(number)
        suggested: Mapping[str, Any] | None = self._optuna.suggest(trial_id)
        assert suggested is not None
        self._live.add(trial_id)
        return {name: suggested[name] for name in self._space}

    def evaluated(self, trial: Trial) -> None:
        """Report the last evaluation; all trials are evaluated at the same training rows seen."""
        if trial.trial_id in self._live and trial.evaluations[-1].is_finite:
            step = len(trial.evaluations) - 1  # as `add_evaluated_point` counts them
            score = trial.evaluations[-1].score
            self._optuna.on_trial_result(trial.trial_id, {SCORE: score, "training_iteration": step})

    def ended(self, trial: Trial) -> None:
        """Report the end, with a score only from the full budget."""
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
        """Report ended trials as evaluated points; Optuna takes none that lie outside the space."""
        for trial in trials:
            if trial.has_failed or not trial.curve:
                continue
            if not all(
                contains(self._space[name], value) for name, value in trial.parameters.items()
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
    """A TPE sampler that is seeded for each suggestion by the seed and the number of the trial."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.reseed(0)

    def reseed(self, number: int) -> None:
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


def distribution_of(domain: Domain) -> BaseDistribution:
    """Return Optuna's distribution with the values of a domain."""
    if domain.choice is not None:
        return CategoricalDistribution(domain.choice)
    if domain.integer is not None:
        return IntDistribution(*domain.integer)
    return FloatDistribution(*domain.bounds, log=domain.log_uniform is not None)
