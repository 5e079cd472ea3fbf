"""Metrics of predictions: scores, scores of each class, confusion matrix and calibration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.objective import (
    Objective,
    Scores,
    Tallies,
    accuracies,
    balanced_accuracies,
    f1_macro,
    kappas,
    matthews_correlations,
    tallies_of_matrix,
)

Metrics = Mapping[str, Callable[[Tallies], Scores]]
"""Key in a report: function of tallies int64 [..., 3 * num_labels + 2] to scores float64 [...]."""

SCORE = "score"
"""Key of the value of the search's metric; the other keys do not depend on that metric."""

_OF_ALL_CLASSES: Metrics = {
    "accuracy": accuracies,
    "f1_macro": f1_macro,
    "balanced_accuracy": balanced_accuracies,
    "matthews_correlation": matthews_correlations,
}

_OF_A_SCALE: Metrics = {
    "kappa_linear": lambda tallies: kappas(tallies, "linear"),
    "kappa_quadratic": lambda tallies: kappas(tallies, "quadratic"),
}

COMPARED = ("accuracy", "f1_macro")
"""Metrics whose difference from the baseline is tested, besides the score."""

NUM_BINS = 15
"""Number of equal-mass bins of the expected calibration error."""


def metrics_of_all(decided_by: Objective | None, *, is_ordered: bool = True) -> Metrics:
    """Return the metrics over all classes that a report lists, the score first if there is one.

    Args:
        decided_by: the metric of `score`; None: there is no `score`.
        is_ordered: whether the labels are a scale; only then errors can be weighted.
    """
    metrics = {**_OF_ALL_CLASSES, **(_OF_A_SCALE if is_ordered else {})}
    return metrics if decided_by is None else _with_score(decided_by, metrics)


def compared_metrics(decided_by: Objective | None) -> Metrics:
    """Return the metrics that are compared with the baseline, the score first if there is one."""
    compared = {key: _OF_ALL_CLASSES[key] for key in COMPARED}
    return compared if decided_by is None else _with_score(decided_by, compared)


def _with_score(decided_by: Objective, metrics: Metrics) -> Metrics:
    return {SCORE: decided_by.of_tallies, **metrics}


def score(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: Sequence[str],
    decided_by: Objective | None = None,
    *,
    is_ordered: bool = True,
) -> dict[str, Any]:
    """Compute the scores of predictions, with an entry for every class, also for absent ones.

    A quotient 0/0 counts as 0, so that `f1_macro` averages over all names; `training.objective`
    defines the other metrics.

    Args:
        labels: int64 [n], true codes, n at least 1.
        predictions: int64 [n], predicted codes.
        names: [num_labels], names in the order of the codes.
        decided_by: the metric of `score`; None: the report has no `score`.
        is_ordered: whether the labels are a scale.

    Returns:
        `score`, `accuracy`, `f1_macro`, `balanced_accuracy`, `matthews_correlation`; of a scale
        `kappa_linear` and `kappa_quadratic`; `per_class` {name: {precision, recall, f1, support}}
        and `confusion_matrix` (num_labels x num_labels rows of counts; rows true, columns
        predicted).
    """
    codes = np.arange(len(names))
    matrix = confusion_matrix(labels, predictions, labels=codes)
    assert matrix.sum() == len(labels), "codes outside the names"
    tallies = tallies_of_matrix(matrix)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predictions, labels=codes, average=None, zero_division=0.0
    )
    return {
        # scikit-learn's own functions warn if there is only one class.
        **{
            key: float(metric(tallies))
            for key, metric in metrics_of_all(decided_by, is_ordered=is_ordered).items()
        },
        "per_class": {
            name: {
                "precision": float(precision[code]),
                "recall": float(recall[code]),
                "f1": float(f1[code]),
                "support": int(support[code]),
            }
            for code, name in enumerate(names)
        },
        "confusion_matrix": matrix.tolist(),
    }


def calibration(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Measure the calibration of the probabilities.

    The expected calibration error is the mean of |accuracy - confidence| over bins, weighted by
    their rows. The confidence of a row is its highest probability. Bins of equal mass bias the
    error less than bins of equal width (Roelofs et al. 2022). Rows of equal confidence share a
    bin, so that the order of rows changes nothing. The Brier score is the sum over the classes
    (Brier 1950), 0 to 2. The negative log-likelihood is in nats per row, and finite even if a
    probability is 0.

    Args:
        labels: int64 [n], true codes, n at least 1.
        probabilities: float64 [n, num_labels], rows that sum to 1.

    Returns:
        `expected_calibration_error`, `brier_score`, `negative_log_likelihood` and `bins`
        [{confidence, accuracy, count}], by rising confidence, at most 15.
    """
    num_rows = len(labels)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = [
        {
            "confidence": float(confidence[members].mean()),
            "accuracy": float(correct[members].mean()),
            "count": len(members),
        }
        for members in equal_mass_bins(confidence, NUM_BINS)
    ]
    errors = probabilities.copy()
    errors[np.arange(num_rows), labels] -= 1.0
    likelihood = probabilities[np.arange(num_rows), labels]
    return {
        "expected_calibration_error": sum(
            row["count"] / num_rows * abs(row["accuracy"] - row["confidence"]) for row in bins
        ),
        "brier_score": float((errors**2).sum(axis=1).mean()),
        "negative_log_likelihood": float(
            -np.log(np.clip(likelihood, np.finfo(np.float64).eps, 1.0)).mean()
        ),
        "bins": bins,
    }


def equal_mass_bins(values: NDArray[Any], num_bins: int) -> list[NDArray[np.int64]]:
    """Return the positions of the values in bins of about equal count, by rising value.

    Equal values share the uppermost of their bins; a bin that becomes empty is left out.

    Args:
        values: number [n], n at least 1.
        num_bins: largest number of bins.

    Returns:
        int64 [count of the bin], one array a bin; together a permutation of range(n).
    """
    ordered = np.sort(values)
    starts = [part[0] for part in np.array_split(np.arange(len(values)), num_bins) if len(part)]
    bin_of = np.searchsorted(ordered[starts[1:]], values, side="right")
    return [np.flatnonzero(bin_of == number) for number in np.unique(bin_of)]
