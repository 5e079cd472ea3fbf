"""What one evaluation measures: the objective's score, macro-F1, accuracy and the weighted loss.

The metrics themselves are in `training.objective`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self, TypedDict

import numpy as np
import numpy.typing as npt

from training.objective import DEFAULT_METRIC, Objective, accuracies, f1_macro, tallies_of
from training.tokens import Integers


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation on the validation rows during training."""

    examples: int
    """Training rows seen so far, repeats counted."""
    epoch: float
    """`examples` in epochs."""
    seconds: float
    """Since the start of this training."""
    learning_rate: float
    """Of the next step; 0 when the full budget is spent."""
    train_loss: float
    """Mean weighted loss of the steps since the previous evaluation, dropout on."""
    eval_loss: float
    """Weighted loss of the validation rows."""
    score: float
    """The objective's score on the validation rows, by which configurations are compared."""
    f1_macro: float
    """Macro-F1 of the validation rows."""
    accuracy: float
    """Accuracy of the validation rows."""
    collapsed: bool
    """Whether all validation rows were predicted to be of one class."""

    @property
    def is_finite(self) -> bool:
        """Whether both losses are numbers; if not, the training has diverged."""
        return math.isfinite(self.train_loss) and math.isfinite(self.eval_loss)

    def by_metric(self, name: str) -> Self:
        """Return the evaluation with its score by another of `RECORDED_METRICS`."""
        return replace(self, score=self.f1_macro if name == DEFAULT_METRIC else self.accuracy)


RECORDED_METRICS = (DEFAULT_METRIC, "accuracy")
"""Metrics that every evaluation records, whatever the objective is."""


class Scores(TypedDict):
    """Scores of a model on one set of rows; each has the meaning that it has in `Evaluation`."""

    eval_loss: float
    score: float
    f1_macro: float
    accuracy: float
    collapsed: bool


def evaluate_probabilities(
    labels: Integers,
    log_probabilities: npt.NDArray[np.float64],
    class_weights: npt.ArrayLike,
    objective: Objective,
) -> Scores:
    """Return the scores of a model on one set of rows.

    Args:
        labels: int64 [rows].
        log_probabilities: float64 [rows, num_labels].
        class_weights: float [num_labels].
        objective: computes `score`.
    """
    predictions = log_probabilities.argmax(axis=1)
    tallies = tallies_of(labels, predictions, log_probabilities.shape[1])
    return {
        "eval_loss": weighted_loss(labels, log_probabilities, class_weights),
        "score": float(objective.of_tallies(tallies)),
        "f1_macro": float(f1_macro(tallies)),
        "accuracy": float(accuracies(tallies)),
        "collapsed": len(np.unique(predictions)) == 1,
    }


def weighted_loss(
    labels: Integers, log_probabilities: npt.NDArray[np.float64], class_weights: npt.ArrayLike
) -> float:
    """Return the weighted mean of the rows' cross-entropy in nats (shapes as above)."""
    weights = np.asarray(class_weights, dtype=np.float64)[labels]
    losses = -log_probabilities[np.arange(len(labels)), labels]
    return float((weights * losses).sum() / weights.sum())


def class_weights(
    labels: Integers, num_labels: int, kind: Literal["balanced", "sqrt", "none"]
) -> npt.NDArray[np.float64]:
    """Return the weight of each class, float64 [num_labels].

    `balanced` is n / (classes * n_class) (King and Zeng 2001, Logistic Regression in Rare Events
    Data; the rule of scikit-learn's `compute_class_weight`); `sqrt` is proportional to its square
    root. Either way the mean weight of the rows is 1. `labels`, int64 [rows], are those of the
    training rows; `training.data` ensures that every class has a row.
    """
    if kind == "none":
        return np.ones(num_labels)
    counts = np.bincount(labels, minlength=num_labels)
    assert counts.all(), "training.data let a class without training rows pass"
    if kind == "sqrt":
        roots = np.sqrt(counts, dtype=np.float64)
        return np.asarray(len(labels) / (roots * roots.sum()), dtype=np.float64)
    return len(labels) / (num_labels * counts)
