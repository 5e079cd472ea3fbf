"""How much of the differences between scores each searched parameter explains, and how surely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

FEWEST_TRIALS = 8
"""Below it nothing is computed: an interval from fewer would be read as knowledge."""

LEVEL = 0.8
NUM_RESAMPLES = 20
NUM_TREES = 16
MOST_TRIALS = 120
"""Drawn from more: the evaluator's time grows with the square of the trials."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Share of the variance that a parameter explains by itself, 0 to 1."""

    parameter: str
    share: float
    low: float
    high: float
    """Ends of the middle `LEVEL` of the shares over resampled trials."""


def parameter_importances(
    parameters: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    space: Mapping[str, Mapping[str, Any]],
    *,
    seed: int = 0,
) -> list[Importance]:
    """FANOVA (Hutter et al. 2014) as Optuna has it, with a bootstrap over the trials.

    Args:
        parameters: of n trials that were trained equally long.
        scores: [n], theirs.
        space: what was searched: {parameter: {kind of domain: values}}.
        seed: of forests and resampling.

    Returns:
        The most important first; empty for fewer than `FEWEST_TRIALS` trials, for scores that are
        all equal, and where fewer than two parameters took more than one value.
    """
    generator = np.random.default_rng(seed)
    chosen = list(range(len(scores)))
    if len(chosen) > MOST_TRIALS:
        chosen = sorted(generator.choice(len(scores), MOST_TRIALS, replace=False).tolist())
    distributions = {
        name: distribution
        for name, domain in space.items()
        if (distribution := _distribution(domain, [values[name] for values in parameters]))
    }
    values = [scores[place] for place in chosen]
    if len(values) < FEWEST_TRIALS or len(distributions) < 2 or max(values) == min(values):
        return []
    trials = [
        create_trial(
            params={name: parameters[place][name] for name in distributions},
            distributions=distributions,
            value=scores[place],
        )
        for place in chosen
    ]
    whole = _shares(trials, seed)
    resampled = [
        _shares([trials[i] for i in generator.integers(len(trials), size=len(trials))], number)
        for number in range(seed + 1, seed + 1 + NUM_RESAMPLES)
    ]
    found = [
        _importance(name, share, [shares[name] for shares in resampled])
        for name, share in whole.items()
    ]
    return sorted(found, key=lambda importance: -importance.share)


def _distribution(domain: Mapping[str, Any], seen: Sequence[float]) -> BaseDistribution | None:
    """What the values seen span, the default's too, which may lie outside of what was searched."""
    if min(seen) == max(seen):
        return None
    if "choice" in domain:
        return CategoricalDistribution(sorted(set(seen)))
    return FloatDistribution(min(seen), max(seen), log="log_uniform" in domain)


def _shares(trials: Sequence[FrozenTrial], seed: int) -> dict[str, float]:
    """Each parameter's share of the variance; 0 for all where the scores do not differ."""
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study that is made
    try:
        study = optuna.create_study(direction="maximize")
    finally:
        optuna.logging.set_verbosity(told)
    study.add_trials(trials)
    names = list(trials[0].params)
    if len({trial.value for trial in trials}) == 1:
        return dict.fromkeys(names, 0.0)
    found = FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=seed).evaluate(study)
    return {name: float(found.get(name, 0.0)) for name in names}


def _importance(name: str, share: float, resampled: Sequence[float]) -> Importance:
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Importance(parameter=name, share=share, low=low, high=high)
