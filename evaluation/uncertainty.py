"""How far a score on these test rows can be trusted: intervals, and a test of a difference.

Test rows come in groups of near-duplicates, which are right or wrong together, so groups are
drawn, never rows. A score depends on a set of rows only through its tallies
(`training.objective`), and those are the sum over groups. Groups with equal tallies are
interchangeable: it is enough to draw how many of each kind are taken, which has the same
distribution and costs a matrix product.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.scores import Metrics, compared_metrics, metrics_of_all
from training.objective import Objective, Tallies, f1_of_classes, rows_of_classes, tallies_of_groups

NUM_RESAMPLES = 10_000
"""Resamples of the bootstrap."""

NUM_DRAWS = 10_000
"""Draws of the randomisation test."""

LEVEL = 0.95
"""Coverage that the intervals aim at."""

SIGNIFICANCE = 0.05
"""Systems are told apart where the p-value of their difference is below this."""

FEW_ROWS = 8
"""Groups that a class needs rows of for its percentile interval to cover about what it aims at."""

# Numbers that one chunk of draws holds at most: 32 MiB as int64.
_CHUNK_CELLS = 4 * 2**20

# Two differences that are equal on paper may differ in their last digits.
_ROUNDING = 1e-12


def bootstrap_intervals(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    *,
    decided_by: Objective | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int,
    level: float = LEVEL,
) -> dict[str, list[float]]:
    """Percentile intervals from a bootstrap over groups, stratified by class.

    Efron and Tibshirani 1993 (chapters 8 and 13); whole clusters are drawn as in Field and
    Welsh 2007. The class of a group is the one most of its rows have (the lowest of several).

    Args:
        labels: int64 [n], true codes.
        predictions: int64 [n], predicted codes.
        groups: int64 [n], near-duplicate group of each row.
        names: [num_labels], names in the order of the codes.
        decided_by: what `score` is; None: it is left out.
        num_resamples: bootstrap samples.
        seed: seed of the draws.
        level: share of the bootstrap distribution between the two ends.

    Returns:
        {each key of `metrics_of_all`, and `f1 of NAME` for each class: [low, high]}.
    """
    tallies = tallies_of_groups(labels, predictions, groups, len(names))
    metrics = metrics_of_all(decided_by)
    chunks = [
        _sampled_scores(drawn, metrics, names)
        for drawn in _resampled(tallies, num_resamples, np.random.default_rng(seed))
    ]
    ends = [(1 - level) / 2, (1 + level) / 2]
    return {
        metric: np.quantile(np.concatenate([chunk[metric] for chunk in chunks]), ends).tolist()
        for metric in chunks[0]
    }


def paired_randomisation(
    labels: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_labels: int,
    *,
    decided_by: Objective | None = None,
    num_draws: int = NUM_DRAWS,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Two-sided test of the difference between two systems on the same rows.

    Approximate randomisation (Noreen 1989; Yeh 2000): were the systems alike, swapping their
    answers for a whole group would change nothing. A draw swaps each group with probability
    1/2; p is (1 + draws at least as far from 0) / (1 + draws) (Phipson and Smyth 2010).

    Args:
        labels: int64 [n], true codes.
        a: int64 [n], predictions of the one system.
        b: int64 [n], predictions of the other.
        groups: int64 [n], near-duplicate group of each row.
        num_labels: number of classes.
        decided_by: what `score` is; None: it is left out.
        num_draws: draws.
        seed: seed of the draws.

    Returns:
        {each key of `compared_metrics`: {`difference` (a minus b), `p_value`}}.
    """
    of_a = tallies_of_groups(labels, a, groups, num_labels)
    of_b = tallies_of_groups(labels, b, groups, num_labels)
    # Swapping a group whose tallies are equal changes neither system's scores.
    changes = (of_b - of_a)[(of_a != of_b).any(axis=1)]
    totals = of_a.sum(axis=0), of_b.sum(axis=0)
    metrics = compared_metrics(decided_by)
    observed = _differences(*totals, metrics)
    num_extreme = dict.fromkeys(observed, 0)
    for swapped in _swapped(changes, num_draws, np.random.default_rng(seed)):
        drawn = _differences(totals[0] + swapped, totals[1] - swapped, metrics)
        for metric, values in drawn.items():
            far = np.abs(values) >= abs(observed[metric]) - _ROUNDING
            num_extreme[metric] += int(far.sum())
    return {
        metric: {
            "difference": float(observed[metric]),
            "p_value": (1 + num_extreme[metric]) / (1 + num_draws),
        }
        for metric in observed
    }


def few_rows(
    labels: NDArray[np.int64], groups: NDArray[np.int64], names: Sequence[str]
) -> dict[str, int]:
    """{class: rows} of the classes that have rows, but of too few groups for their interval.

    A resample of few groups repeats them: two that are both wrong have no other outcome, and the
    interval is a point. Many rows of one text are one group.

    Args:
        labels: int64 [n], true codes.
        groups: int64 [n], near-duplicate group of each row.
        names: [num_labels], names in the order of the codes.
    """
    of_class = {name: groups[labels == code] for code, name in enumerate(names)}
    return {
        name: len(rows) for name, rows in of_class.items() if 0 < len(np.unique(rows)) < FEW_ROWS
    }


def _sampled_scores(
    drawn: Tallies, metrics: Metrics, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """{metric: float64 [draws]} of the tallies of resamples, int64 [draws, 3 k + 2]."""
    f1 = f1_of_classes(drawn)
    return {
        **{key: metric(drawn) for key, metric in metrics.items()},
        **{f"f1 of {name}": f1[:, code] for code, name in enumerate(names)},
    }


def _resampled(tallies: Tallies, num_resamples: int, rng: np.random.Generator) -> Iterator[Tallies]:
    """Tallies of resamples, int64 [chunk, 3 k + 2], in chunks."""
    strata = rows_of_classes(tallies).argmax(axis=1)
    kinds = [_kinds(tallies[strata == stratum]) for stratum in np.unique(strata)]
    widest = max(len(counts) for _, counts in kinds)
    for chunk in _chunks(num_resamples, widest + tallies.shape[1]):
        total = np.zeros((chunk, tallies.shape[1]), dtype=np.int64)
        for kind, counts in kinds:
            taken = rng.multinomial(counts.sum(), counts / counts.sum(), size=chunk)
            total += _sum_of_kinds(taken, kind)
        yield total


def _swapped(changes: Tallies, num_draws: int, rng: np.random.Generator) -> Iterator[Tallies]:
    """What swapping half of the groups adds to the first system, int64 [chunk, 3 k + 2]."""
    kind, counts = _kinds(changes)
    for chunk in _chunks(num_draws, len(counts) + changes.shape[1]):
        yield _sum_of_kinds(rng.binomial(counts, 0.5, size=(chunk, len(counts))), kind)


def _kinds(tallies: Tallies) -> tuple[Tallies, NDArray[np.int64]]:
    """The different tallies, int64 [num_kinds, 3 k + 2], and how often each is there."""
    kinds, counts = np.unique(tallies, axis=0, return_counts=True)
    return kinds, counts


def _sum_of_kinds(taken: NDArray[np.int64], kinds: Tallies) -> Tallies:
    """Sum of tallies, int64 [draws, 3 k + 2], for how many of each kind a draw takes."""
    # As float64 the product runs in BLAS; counts of rows are exact in it.
    return np.rint(taken.astype(np.float64) @ kinds.astype(np.float64)).astype(np.int64)


def _chunks(num_draws: int, width: int) -> Iterator[int]:
    """Sizes of chunks of draws, each `width` numbers wide, that sum to `num_draws`."""
    size = max(1, _CHUNK_CELLS // width)
    for start in range(0, num_draws, size):
        yield min(size, num_draws - start)


def _differences(a: Tallies, b: Tallies, metrics: Metrics) -> dict[str, NDArray[np.float64]]:
    """First minus second system: {metric: float64 [...]} of two int64 [..., 3 k + 2]."""
    return {key: metric(a) - metric(b) for key, metric in metrics.items()}
