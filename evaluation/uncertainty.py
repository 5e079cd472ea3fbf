"""Confidence intervals of test scores (bootstrap), and a significance test of differences.

Test rows form groups of near-duplicates, whose predictions are right or wrong together, so groups
are resampled, never rows. A score depends on a set of rows only through its tallies
(`training.objective`), and the tallies of a set are the sum over its groups. Groups with equal
tallies are interchangeable: it is enough to sample how many groups of each kind are taken, which
has the same distribution and costs one matrix product.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.scores import Metrics, compared_metrics, metrics_of_all
from results.intervals import CONFIDENCE
from training.objective import Objective, Tallies, f1_of_classes, rows_of_classes, tallies_of_groups

NUM_RESAMPLES = 10_000
"""Number of resamples of the bootstrap."""

NUM_PERMUTATIONS = 10_000
"""Number of permutations of the randomisation test."""

FEW_ROWS = 8
"""Number of groups below which the percentile interval of a class covers too little."""

# Largest number of integers in one chunk of resamples: 32 MiB as int64.
_CHUNK_CELLS = 4 * 2**20

# Two differences that are mathematically equal may differ in their last digits.
_ROUNDING = 1e-12


def bootstrap_intervals(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    *,
    decided_by: Objective | None = None,
    is_ordered: bool = True,
    num_resamples: int = NUM_RESAMPLES,
    seed: int,
    confidence: float = CONFIDENCE,
) -> dict[str, list[float]]:
    """Compute percentile intervals with a bootstrap over groups, stratified by class.

    The method is that of Efron and Tibshirani 1993 (chapters 8 and 13); whole clusters are
    resampled as in Field and Welsh 2007. The class of a group is the class of most of its rows
    (the lowest one of a tie).

    Args:
        labels: int64 [n], true codes.
        predictions: int64 [n], predicted codes.
        groups: int64 [n], near-duplicate group of each row.
        names: [num_labels], names in the order of the codes.
        decided_by: the metric of `score`; None: there is no `score`.
        is_ordered: whether the labels are a scale.
        num_resamples: number of resamples.
        seed: seed of the resampling.
        confidence: share of the bootstrap distribution between the two ends.

    Returns:
        {each key of `metrics_of_all`, and `f1 of NAME` for each class: [low, high]}.
    """
    tallies = tallies_of_groups(labels, predictions, groups, len(names))
    metrics = metrics_of_all(decided_by, is_ordered=is_ordered)
    chunks = [
        _scores_of_resamples(resampled, metrics, names)
        for resampled in _resample(tallies, num_resamples, np.random.default_rng(seed))
    ]
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
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
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Test the difference between two systems on the same rows, two-sided.

    This is approximate randomisation (Noreen 1989; Yeh 2000): under the null hypothesis, swapping
    the predictions of the two systems on a whole group changes nothing. A permutation swaps each
    group with probability 1/2. The p-value is (1 + number of permutations at least as far from 0)
    / (1 + number of permutations) (Phipson and Smyth 2010).

    Args:
        labels: int64 [n], true codes.
        a: int64 [n], predictions of the first system.
        b: int64 [n], predictions of the second system.
        groups: int64 [n], near-duplicate group of each row.
        num_labels: number of classes.
        decided_by: the metric of `score`; None: there is no `score`.
        num_permutations: number of permutations.
        seed: seed of the permutations.

    Returns:
        {each key of `compared_metrics`: {`difference` (a minus b), `p_value`}}.
    """
    of_a = tallies_of_groups(labels, a, groups, num_labels)
    of_b = tallies_of_groups(labels, b, groups, num_labels)
    # Swapping a group with equal tallies changes neither system's scores.
    changes = (of_b - of_a)[(of_a != of_b).any(axis=1)]
    totals = of_a.sum(axis=0), of_b.sum(axis=0)
    metrics = compared_metrics(decided_by)
    observed = _differences(*totals, metrics)
    num_extreme = dict.fromkeys(observed, 0)
    for swapped in _swap(changes, num_permutations, np.random.default_rng(seed)):
        permuted = _differences(totals[0] + swapped, totals[1] - swapped, metrics)
        for metric, values in permuted.items():
            is_extreme = np.abs(values) >= abs(observed[metric]) - _ROUNDING
            num_extreme[metric] += int(is_extreme.sum())
    return {
        metric: {
            "difference": float(observed[metric]),
            "p_value": (1 + num_extreme[metric]) / (1 + num_permutations),
        }
        for metric in observed
    }


def few_rows(
    labels: NDArray[np.int64], groups: NDArray[np.int64], names: Sequence[str]
) -> dict[str, int]:
    """Return {class: rows} of the classes that have rows, but too few groups for an interval.

    Resamples of few groups are almost all alike: if both of two groups are misclassified, every
    resample has the same score and the interval is a point. Many copies of a text are one group.

    Args:
        labels: int64 [n], true codes.
        groups: int64 [n], near-duplicate group of each row.
        names: [num_labels], names in the order of the codes.
    """
    of_class = {name: groups[labels == code] for code, name in enumerate(names)}
    return {
        name: len(rows) for name, rows in of_class.items() if 0 < len(np.unique(rows)) < FEW_ROWS
    }


def _scores_of_resamples(
    resampled: Tallies, metrics: Metrics, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return {metric: float64 [resamples]} of tallies int64 [resamples, 3 k + 2]."""
    f1 = f1_of_classes(resampled)
    return {
        **{key: metric(resampled) for key, metric in metrics.items()},
        **{f"f1 of {name}": f1[:, code] for code, name in enumerate(names)},
    }


def _resample(tallies: Tallies, num_resamples: int, rng: np.random.Generator) -> Iterator[Tallies]:
    """Yield tallies of resamples in chunks, int64 [chunk, 3 k + 2]."""
    strata = rows_of_classes(tallies).argmax(axis=1)
    kinds = [_kinds(tallies[strata == stratum]) for stratum in np.unique(strata)]
    widest = max(len(counts) for _, counts in kinds)
    for chunk in _chunks(num_resamples, widest + tallies.shape[1]):
        total = np.zeros((chunk, tallies.shape[1]), dtype=np.int64)
        for kind, counts in kinds:
            taken = rng.multinomial(counts.sum(), counts / counts.sum(), size=chunk)
            total += _sum_of_kinds(taken, kind)
        yield total


def _swap(changes: Tallies, num_permutations: int, rng: np.random.Generator) -> Iterator[Tallies]:
    """Yield what swapping random groups adds to the first system, int64 [chunk, 3 k + 2]."""
    kind, counts = _kinds(changes)
    for chunk in _chunks(num_permutations, len(counts) + changes.shape[1]):
        yield _sum_of_kinds(rng.binomial(counts, 0.5, size=(chunk, len(counts))), kind)


def _kinds(tallies: Tallies) -> tuple[Tallies, NDArray[np.int64]]:
    """Return the distinct tallies, int64 [num_kinds, 3 k + 2], and how often each occurs."""
    kinds, counts = np.unique(tallies, axis=0, return_counts=True)
    return kinds, counts


def _sum_of_kinds(taken: NDArray[np.int64], kinds: Tallies) -> Tallies:
    """Sum the tallies of resamples, int64 [resamples, 3 k + 2].

    Args:
        taken: int64 [resamples, num_kinds], how many groups of each kind a resample has.
        kinds: int64 [num_kinds, 3 k + 2].
    """
    # As float64 the product runs in BLAS; counts of rows are exact in it.
    return np.rint(taken.astype(np.float64) @ kinds.astype(np.float64)).astype(np.int64)


def _chunks(num_resamples: int, width: int) -> Iterator[int]:
    """Yield sizes of chunks of resamples of `width` integers; they sum to `num_resamples`."""
    size = max(1, _CHUNK_CELLS // width)
    for start in range(0, num_resamples, size):
        yield min(size, num_resamples - start)


def _differences(a: Tallies, b: Tallies, metrics: Metrics) -> dict[str, NDArray[np.float64]]:
    """Return first minus second system: {metric: float64 [...]} of two int64 [..., 3 k + 2]."""
    return {key: metric(a) - metric(b) for key, metric in metrics.items()}
