"""Class weights, from training rows only."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from training.tokens import Integers


def class_weights(
    labels: Integers, num_labels: int, kind: Literal["balanced", "none"]
) -> npt.NDArray[np.float64]:
    """Weight of each class, float64 [num_labels].

    `balanced` is n / (classes * n_class) (King and Zeng 2001, Logistic Regression in Rare Events
    Data; the rule of scikit-learn's `compute_class_weight`). `labels` is int64 [rows] of training
    rows, where every class has a row: `training.data` sees to it.
    """
    if kind == "none":
        return np.ones(num_labels)
    counts = np.bincount(labels, minlength=num_labels)
    assert counts.all(), "a class without training rows got past training.data"
    return len(labels) / (num_labels * counts)
