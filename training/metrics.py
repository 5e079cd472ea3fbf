"""The objective and what is recorded beside it."""

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score

from training.tokens import Integers

OBJECTIVE = "f1_macro"
"""Macro-averaged F1 over all classes of the configuration; higher is better."""


def f1_macro(labels: Integers, predictions: Integers, num_labels: int) -> float:
    """Mean of the F1 of each class; a class without rows and predictions counts 0.

    `labels` and `predictions` are int64 [rows].
    """
    return float(
        f1_score(labels, predictions, labels=range(num_labels), average="macro", zero_division=0)
    )


def accuracy(labels: Integers, predictions: Integers) -> float:
    """Share of rows (int64 [rows] each) whose prediction is the label."""
    return float(accuracy_score(labels, predictions))


def constant_f1_macro(labels: Integers, num_labels: int) -> float:
    """Best macro-F1 of a predictor that gives every row (labels int64 [rows]) one class."""
    share = np.bincount(labels, minlength=num_labels).max() / len(labels)
    return float(2 * share / (1 + share) / num_labels)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One look at the validation rows in mid-training."""

    examples: int
    """Training rows seen so far, repeats counted."""
    epoch: float
    """`examples` in passes over the training rows."""
    seconds: float
    """Since this training began."""
    learning_rate: float
    """Of the step that comes next; 0 when the full budget is spent."""
    train_loss: float
    """Mean weighted loss of the steps since the evaluation before, dropout on."""
    eval_loss: float
    """Weighted loss of the validation rows."""
    f1_macro: float
    """Macro-F1 of the validation rows."""
    accuracy: float
    """Accuracy of the validation rows."""
    collapsed: bool
    """Whether every validation row was given one class."""

    @property
    def is_finite(self) -> bool:
        """Whether both losses are numbers; if not, the training has diverged."""
        return math.isfinite(self.train_loss) and math.isfinite(self.eval_loss)


class Scores(TypedDict):
    """What one set of rows says of a model, named and meant as in `Evaluation`."""

    eval_loss: float
    f1_macro: float
    accuracy: float
    collapsed: bool


def evaluate_probabilities(
    labels: Integers, log_probabilities: npt.NDArray[np.float64], class_weights: npt.ArrayLike
) -> Scores:
    """Scores of one set of rows.

    Args:
        labels: int64 [rows].
        log_probabilities: float64 [rows, num_labels].
        class_weights: float [num_labels].
    """
    predictions = log_probabilities.argmax(axis=1)
    return {
        "eval_loss": weighted_loss(labels, log_probabilities, class_weights),
        "f1_macro": f1_macro(labels, predictions, log_probabilities.shape[1]),
        "accuracy": accuracy(labels, predictions),
        "collapsed": len(np.unique(predictions)) == 1,
    }


def weighted_loss(
    labels: Integers, log_probabilities: npt.NDArray[np.float64], class_weights: npt.ArrayLike
) -> float:
    """Class-weighted cross-entropy in nats: weighted mean over rows (shapes as above)."""
    weights = np.asarray(class_weights, dtype=np.float64)[labels]
    losses = -log_probabilities[np.arange(len(labels)), labels]
    return float((weights * losses).sum() / weights.sum())
