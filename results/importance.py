"""Importance of each searched parameter: its share of the scores' variance, with an interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

MIN_TRIALS = 8
"""With fewer trials nothing is computed: an interval would suggest knowledge that is not there."""

CONFIDENCE = 0.8
"""Coverage of the intervals."""
NUM_RESAMPLES = 20
NUM_TREES = 16
MAX_TRIALS = 120
"""Larger searches are sampled: the evaluator's time grows with the square of the trials."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Share of the variance that a parameter explains by itself, 0 to 1."""

    parameter: str
    share: float
    low: float
    high: float
    """Ends of the middle `CONFIDENCE` of the shares over resampled trials."""


def parameter_importances(
    parameters: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    space: Mapping[str, Mapping[str, Any]],
    *,
    seed: int = 0,
    max_trials: int = MAX_TRIALS,
    num_resamples: int = NUM_RESAMPLES,
) -> list[Importance]:
    """Compute fANOVA (Hutter et al. 2014) by Optuna, with a bootstrap over the trials.

    Args:
        parameters: of n trials that were trained equally long.
        scores: [n], the score of each trial.
        space: the search space: {parameter: {kind of domain: values}}.
        seed: of forests and resampling.
        max_trials: of more trials a random sample of this size is used.
        num_resamples: number of bootstrap resamples for the intervals.

    Returns:
        The most important first; empty for fewer than `MIN_TRIALS` trials, for scores that are
        all equal, and where fewer than two parameters took more than one value.
    """
    generator = np.random.default_rng(seed)
    chosen = list(range(len(scores)))
    if len(chosen) > max_trials:
        chosen = sorted(generator.choice(len(scores), max_trials, replace=False).tolist())
    distributions = {
        name: distribution
        for name, domain in space.items()
        if (distribution := _distribution(domain, [values[name] for values in parameters]))
    }
    values = [scores[index] for index in chosen]
    if len(values) < MIN_TRIALS or len(distributions) < 2 or max(values) == min(values):
        return []
    trials = [
        create_trial(
            params={name: parameters[index][name] for name in distributions},
            distributions=distributions,
            value=scores[index],
        )
        for index in chosen
    ]
    shares = _compute_shares(trials, seed)
    resampled = [
        _compute_shares(
            [trials[i] for i in generator.integers(len(trials), size=len(trials))], number
        )
        for number in range(seed + 1, seed + 1 + num_resamples)
    ]
    found = [
        _with_interval(name, share, [shares[name] for shares in resampled])
        for name, share in shares.items()
    ]
    return sorted(found, key=lambda importance: -importance.share)


def _distribution(domain: Mapping[str, Any], values: Sequence[float]) -> BaseDistribution | None:
    """Span all values, because the default may lie outside the search space; None for one value."""
    if min(values) == max(values):
        return None
    if "choice" in domain:
        return CategoricalDistribution(sorted(set(values)))
    return FloatDistribution(min(values), max(values), log="log_uniform" in domain)


def _compute_shares(trials: Sequence[FrozenTrial], seed: int) -> dict[str, float]:
    """Return each parameter's share of the variance; 0 for all if the scores are equal."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna logs every study it creates.
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(verbosity)
    study.add_trials(trials)
    names = list(trials[0].params)
    if len({trial.value for trial in trials}) == 1:
        return dict.fromkeys(names, 0.0)
    found = FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=seed).evaluate(study)
    return {name: float(found.get(name, 0.0)) for name in names}


def _with_interval(name: str, share: float, resampled: Sequence[float]) -> Importance:
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(resampled, ends).tolist()
    return Importance(parameter=name, share=share, low=low, high=high)
