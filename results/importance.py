"""Importance of each searched parameter: its share of the scores' variance, with an interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestRegressor

from results.parameter_values import Value, in_order, is_number

Floats = npt.NDArray[np.float64]

MIN_TRIALS = 8
"""With fewer trials nothing is computed: an interval would suggest knowledge that is not there."""

CONFIDENCE = 0.8
"""Coverage of the intervals."""
NUM_RESAMPLES = 20
NUM_TREES = 16
MAX_TRIALS = 120
"""Larger searches are sampled, so that a report takes seconds."""

_NUM_POINTS = 128
"""Points of the space over which a tree's variance is computed."""
_NUM_VALUES = 12
"""Values of a range at which a tree's mean over the other parameters is computed."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Share of the variance that a parameter explains by itself, 0 to 1."""

    parameter: str
    share: float
    low: float
    high: float
    """Ends of the middle `CONFIDENCE` of the shares over resampled trials."""


def parameter_importances(
    parameters: Sequence[Mapping[str, Value]],
    scores: Sequence[float],
    space: Mapping[str, Mapping[str, Any]],
    *,
    seed: int = 0,
    max_trials: int = MAX_TRIALS,
    num_resamples: int = NUM_RESAMPLES,
) -> list[Importance]:
    """Compute fANOVA (Hutter et al. 2014) with a bootstrap over the trials.

    The variance of each tree of a forest is taken over points of the space, not over the trials,
    which a searcher concentrates where scores are good. Each value of a choice has a column of its
    own, of which exactly one is 1 at a point: words have no order, and no combination that cannot
    occur has a weight (Optuna's evaluator takes columns for independent and so overstates choices).

    Args:
        parameters: of n trials that were trained equally long. A trial whose value is null although
            the parameter is a range, as trial 0's may be, is left out.
        scores: [n], the score of each trial.
        space: the search space: {parameter: {kind of domain: values}}.
        seed: of forests, points and resampling.
        max_trials: of more trials a random sample of this size is used.
        num_resamples: number of bootstrap resamples for the intervals.

    Returns:
        The most important first; empty for fewer than `MIN_TRIALS` trials, for scores that are
        all equal, and where fewer than two parameters took more than one value.
    """
    generator = np.random.default_rng(seed)
    chosen = [n for n, values in enumerate(parameters) if _is_inside(values, space)]
    if len(chosen) > max_trials:
        chosen = sorted(generator.choice(chosen, max_trials, replace=False).tolist())
    columns = {
        name: column
        for name, domain in space.items()
        if (column := _column(domain, [parameters[n].get(name) for n in chosen]))
    }
    targets = np.array([scores[n] for n in chosen])
    if len(targets) < MIN_TRIALS or len(columns) < 2 or np.ptp(targets) == 0:
        return []
    encoded = np.hstack([column.trials for column in columns.values()])
    points = _Points.sample(list(columns.values()), generator)
    shares = points.shares(encoded, targets, seed)
    resampled = []
    for number in range(seed + 1, seed + 1 + num_resamples):
        members = generator.integers(len(targets), size=len(targets))
        resampled.append(points.shares(encoded[members], targets[members], number))
    found = [
        _with_interval(name, shares[n], [one[n] for one in resampled])
        for n, name in enumerate(columns)
    ]
    return sorted(found, key=lambda importance: -importance.share)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A parameter as columns of numbers."""

    trials: Floats
    """[trials, width]."""
    values: Floats
    """[values, width]: the categories, or evenly spaced values of a range."""


def _is_inside(values: Mapping[str, Value], space: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether each range has a number, as trial 0's value may be null."""
    ranges = (name for name, domain in space.items() if "choice" not in domain)
    return all(is_number(values.get(name)) for name in ranges)


def _column(domain: Mapping[str, Any], values: Sequence[Any]) -> _Column | None:
    """Span all values, because the default may lie outside the search space; None for one value."""
    if "choice" in domain:
        keys = [(isinstance(value, bool), value) for value in values]
        known = [(isinstance(value, bool), value) for value in in_order(domain, values)]
        known = [key for key in known if key in keys]
        codes = np.array([known.index(key) for key in keys], dtype=np.int64)
        one_hot = np.eye(len(known))
        return _Column(trials=one_hot[codes], values=one_hot) if len(known) > 1 else None
    numbers = np.array(values, dtype=np.float64)
    if not len(numbers) or np.ptp(numbers) == 0:
        return None
    if "log_uniform" in domain and numbers.min() > 0:
        numbers = np.log(numbers)
    shares = (np.arange(_NUM_VALUES) + 0.5) / _NUM_VALUES
    return _Column(
        trials=numbers[:, None], values=(numbers.min() + shares * np.ptp(numbers))[:, None]
    )


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Points of the space, and the same points with one parameter at each of its values."""

    points: npt.NDArray[np.float32]
    """[_NUM_POINTS, width of all columns]."""
    varied: Sequence[npt.NDArray[np.float32]]
    """For each parameter [values * _NUM_POINTS, width of all columns]."""

    @classmethod
    def sample(cls, columns: Sequence[_Column], generator: np.random.Generator) -> "_Points":
        """Sample points; every value of a parameter is about equally frequent."""
        parts = []
        for column in columns:
            codes = generator.permutation(np.arange(_NUM_POINTS) % len(column.values))
            parts.append(column.values[codes])
        points = np.hstack(parts).astype(np.float32)
        ends = np.cumsum([part.shape[1] for part in parts])
        varied = []
        for column, end in zip(columns, ends.tolist(), strict=True):
            num, width = column.values.shape
            copies = np.tile(points, (num, 1))
            copies[:, end - width : end] = np.repeat(column.values, _NUM_POINTS, axis=0)
            varied.append(copies)
        return cls(points=points, varied=varied)

    def shares(self, encoded: Floats, targets: Floats, seed: int) -> list[float]:
        """Return each parameter's share of the variance; 0 for all if the scores are equal."""
        forest = RandomForestRegressor(n_estimators=NUM_TREES, random_state=seed)
        forest.fit(encoded, targets)
        found = []
        for estimator in forest.estimators_:
            predict = estimator.tree_.predict
            total = float(predict(self.points).var())
            if total > 0:
                means = (
                    predict(rows).reshape(-1, _NUM_POINTS).mean(axis=1) for rows in self.varied
                )
                found.append([min(float(mean.var()) / total, 1.0) for mean in means])
        if not found:
            return [0.0] * len(self.varied)
        return [math.fsum(of_one) / len(found) for of_one in zip(*found, strict=True)]


def _with_interval(name: str, share: float, resampled: Sequence[float]) -> Importance:
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(resampled, ends).tolist()
    return Importance(parameter=name, share=share, low=low, high=high)
