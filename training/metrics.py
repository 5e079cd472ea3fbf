"""What one evaluation measures: the score decided by, and what is recorded beside it."""

import math
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from training.objective import Objective, accuracies, f1_macro, tallies_of
from training.tokens import Integers


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
    score: float
    """Of the validation rows, by the objective: what decides."""
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
    score: float
    f1_macro: float
    accuracy: float
    collapsed: bool


def evaluate_probabilities(
    labels: Integers,
    log_probabilities: npt.NDArray[np.float64],
    class_weights: npt.ArrayLike,
    decided_by: Objective,
) -> Scores:
    """Scores of one set of rows.

    Args:
        labels: int64 [rows].
        log_probabilities: float64 [rows, num_labels].
        class_weights: float [num_labels].
        decided_by: what `score` is.
    """
    predictions = log_probabilities.argmax(axis=1)
    tallies = tallies_of(labels, predictions, log_probabilities.shape[1])
    return {
        "eval_loss": weighted_loss(labels, log_probabilities, class_weights),
        "score": float(decided_by.of_tallies(tallies)),
        "f1_macro": float(f1_macro(tallies)),
        "accuracy": float(accuracies(tallies)),
        "collapsed": len(np.unique(predictions)) == 1,
    }


def weighted_loss(
    labels: Integers, log_probabilities: npt.NDArray[np.float64], class_weights: npt.ArrayLike
) -> float:
    """Class-weighted cross-entropy in nats: weighted mean over rows (shapes as above)."""
    weights = np.asarray(class_weights, dtype=np.float64)[labels]
    losses = -log_probabilities[np.arange(len(labels)), labels]
    return float((weights * losses).sum() / weights.sum())


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
