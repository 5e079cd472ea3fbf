"""Scores of confusion matrices, many at a time, from the few counts that they depend on.

The counts of a set of rows are its *tallies*, int64 [..., 3 k + 2] for k classes: right rows by
class, rows by true class, rows by predicted class, the sum of the distances between the two codes,
and of their squares. Tallies of sets without a common row add up, and unlike matrices they stay
small for many classes. A quotient 0/0 counts as 0.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Tallies = NDArray[np.int64]
Scores = NDArray[np.float64]


def tallies_of_matrix(matrix: NDArray[np.int64]) -> Tallies:
    """Tallies of one confusion matrix, int64 [k, k], whose rows are true, columns predicted."""
    codes = np.arange(len(matrix))
    distance = np.abs(codes[:, None] - codes)
    sums = [(distance * matrix).sum(), (distance**2 * matrix).sum()]
    return np.concatenate([matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0), sums])


def tallies_of_groups(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_labels: int,
) -> Tallies:
    """Tallies of each group of rows, in rising order of its number: int64 [num_groups, 3 k + 2].

    Args:
        labels: int64 [n], true codes, n at least 1.
        predictions: int64 [n], predicted codes.
        groups: int64 [n], group of each row.
        num_labels: number of classes, k.
    """
    assert len(labels) == len(predictions) == len(groups) > 0
    numbers, group = np.unique(groups, return_inverse=True)
    tallies = np.zeros((len(numbers), 3 * num_labels + 2), dtype=np.int64)
    right = labels == predictions
    distance = np.abs(labels - predictions)
    np.add.at(tallies, (group[right], labels[right]), 1)
    np.add.at(tallies, (group, num_labels + labels), 1)
    np.add.at(tallies, (group, 2 * num_labels + predictions), 1)
    np.add.at(tallies[:, -2], group, distance)
    np.add.at(tallies[:, -1], group, distance**2)
    return tallies


def rows_of_classes(tallies: Tallies) -> NDArray[np.int64]:
    """Rows by true class: int64 [..., k]."""
    return _parts(tallies)[1]


def accuracies(tallies: Tallies) -> Scores:
    """Accuracies: float64 [...]."""
    right, true, _ = _parts(tallies)
    return _quotient(right.sum(axis=-1), true.sum(axis=-1))


def f1_of_classes(tallies: Tallies) -> Scores:
    """F1 of each class: float64 [..., k]; 0 for a class without rows and predictions."""
    right, true, predicted = _parts(tallies)
    return _quotient(2 * right, true + predicted)


def balanced_accuracies(tallies: Tallies) -> Scores:
    """Mean recall of the classes that have rows (Brodersen et al. 2010): float64 [...]."""
    right, true, _ = _parts(tallies)
    return _quotient(_quotient(right, true).sum(axis=-1), np.count_nonzero(true, axis=-1))


def matthews_correlations(tallies: Tallies) -> Scores:
    """Matthews correlation for several classes (Gorodkin 2004): float64 [...]."""
    right, true, predicted = (part.astype(np.float64) for part in _parts(tallies))
    total = true.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (true * predicted).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _quotient(covariance, np.sqrt(spread))


def kappas(tallies: Tallies, weights: Literal["linear", "quadratic"]) -> Scores:
    """Cohen's weighted kappa (Cohen 1968): float64 [...].

    A mistake costs the distance of the two codes (linear) or its square (quadratic).
    """
    _, true, predicted = (part.astype(np.float64) for part in _parts(tallies))
    found, power = (tallies[..., -2], 1) if weights == "linear" else (tallies[..., -1], 2)
    codes = np.arange(true.shape[-1], dtype=np.float64)
    cost = np.abs(codes[:, None] - codes) ** power
    expected = _quotient(((true @ cost) * predicted).sum(axis=-1), true.sum(axis=-1))
    return _quotient(expected - found, expected)


def _parts(tallies: Tallies) -> tuple[Tallies, Tallies, Tallies]:
    """Right rows, rows by true class, rows by predicted class: int64 [..., k] each."""
    num_labels = tallies.shape[-1] // 3
    right, true, predicted = (
        tallies[..., part * num_labels : (part + 1) * num_labels] for part in range(3)
    )
    return right, true, predicted


def _quotient(above: NDArray[np.number], below: NDArray[np.number]) -> Scores:
    below = np.asarray(below, dtype=np.float64)
    quotient = np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
    return np.asarray(quotient, dtype=np.float64)
