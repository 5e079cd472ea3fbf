"""Scores of confusion matrices, many at a time: each function takes int64 [..., k, k].

Rows of a matrix are true, columns predicted. A quotient 0/0 counts as 0.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.int64]
Scores = NDArray[np.float64]


def accuracies(matrices: Matrices) -> Scores:
    """Accuracy of each matrix: float64 [...]."""
    return _quotient(np.trace(matrices, axis1=-2, axis2=-1), matrices.sum(axis=(-2, -1)))


def f1_of_classes(matrices: Matrices) -> Scores:
    """F1 of each class: float64 [..., k]; 0 for a class without rows and predictions."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1)
    return _quotient(2 * right, matrices.sum(axis=-1) + matrices.sum(axis=-2))


def balanced_accuracies(matrices: Matrices) -> Scores:
    """Mean recall of the classes that have rows (Brodersen et al. 2010): float64 [...]."""
    rows = matrices.sum(axis=-1)
    recall = _quotient(np.diagonal(matrices, axis1=-2, axis2=-1), rows)
    return _quotient(recall.sum(axis=-1), np.count_nonzero(rows, axis=-1))


def matthews_correlations(matrices: Matrices) -> Scores:
    """Matthews correlation for several classes (Gorodkin 2004): float64 [...]."""
    counts = matrices.astype(np.float64)
    true, predicted, total = counts.sum(axis=-1), counts.sum(axis=-2), counts.sum(axis=(-2, -1))
    right = np.trace(counts, axis1=-2, axis2=-1)
    covariance = right * total - (true * predicted).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _quotient(covariance, np.sqrt(spread))


def kappas(matrices: Matrices, weights: Literal["linear", "quadratic"]) -> Scores:
    """Cohen's weighted kappa (Cohen 1968): float64 [...].

    A mistake costs the distance of the two codes (linear) or its square (quadratic).
    """
    codes = np.arange(matrices.shape[-1])
    cost = np.abs(codes[:, None] - codes) ** {"linear": 1, "quadratic": 2}[weights]
    by_chance = matrices.sum(axis=-1)[..., :, None] * matrices.sum(axis=-2)[..., None, :]
    expected = _quotient((cost * by_chance).sum(axis=(-2, -1)), matrices.sum(axis=(-2, -1)))
    found = (cost * matrices).sum(axis=(-2, -1))
    return _quotient(expected - found, expected)


def _quotient(above: NDArray[np.number], below: NDArray[np.number]) -> Scores:
    below = np.asarray(below, dtype=np.float64)
    quotient = np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
    return np.asarray(quotient, dtype=np.float64)
