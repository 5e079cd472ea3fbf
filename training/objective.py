"""Metrics, and the objective: the one metric by which a search compares trials.

To add a metric, write a function of tallies and enter it in `_METRICS`. Every other module takes
the objective, or a `score` that it computed, and names no metric to decide by; only quality gates
have their own metrics, and the files list a few beside the score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import InputError

Codes = NDArray[np.int64]
Tallies = NDArray[np.int64]
"""Counts from which every metric is computed, int64 [..., 3 k + 2] for k classes: correct rows by
class, rows by true class, rows by predicted class, and the sums of the distances between true and
predicted code and of their squares."""
Scores = NDArray[np.float64]

DEFAULT_METRIC = "f1_macro"

STEP = 0.01
"""The precision with which people read a score: one point."""

NEGLIGIBLE = STEP / 2
"""Differences of scores up to this are not worth additional replicates."""

CLEARLY_ABOVE = 5 * STEP
"""A score that is this much above the best constant predictor's shows that a trial has started to
learn: about three standard errors of macro-F1 on a thousand validation rows."""

_F1_OF_LABEL = "f1:"
"""Start of the name of the metric that is the F1 of one label."""


def f1_macro(tallies: Tallies) -> Scores:
    """Return macro-F1 over all classes of the configuration, float64 [...]."""
    return np.asarray(f1_of_classes(tallies).mean(axis=-1), dtype=np.float64)


def _f1_weighted(tallies: Tallies) -> Scores:
    rows = rows_of_classes(tallies)
    weighted = (f1_of_classes(tallies) * rows).sum(axis=-1) / rows.sum(axis=-1)
    return np.asarray(weighted, dtype=np.float64)


def accuracies(tallies: Tallies) -> Scores:
    """Return accuracies, float64 [...]."""
    correct, true, _ = _parts(tallies)
    return _quotient(correct.sum(axis=-1), true.sum(axis=-1))


def balanced_accuracies(tallies: Tallies) -> Scores:
    """Return the mean recall of classes that have rows, float64 [...] (Brodersen et al. 2010)."""
    correct, true, _ = _parts(tallies)
    return _quotient(_quotient(correct, true).sum(axis=-1), np.count_nonzero(true, axis=-1))


def matthews_correlations(tallies: Tallies) -> Scores:
    """Return the Matthews correlation of several classes, float64 [...] (Gorodkin 2004)."""
    correct, true, predicted = (part.astype(np.float64) for part in _parts(tallies))
    total = true.sum(axis=-1)
    covariance = correct.sum(axis=-1) * total - (true * predicted).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    return _quotient(covariance, np.sqrt(spread))


def kappas(tallies: Tallies, weights: Literal["linear", "quadratic"]) -> Scores:
    """Return Cohen's weighted kappa, float64 [...] (Cohen 1968).

    The cost of an error is the distance of the two codes (linear) or its square (quadratic).
    """
    _, true, predicted = (part.astype(np.float64) for part in _parts(tallies))
    found, power = (tallies[..., -2], 1) if weights == "linear" else (tallies[..., -1], 2)
    codes = np.arange(true.shape[-1], dtype=np.float64)
    cost = np.abs(codes[:, None] - codes) ** power
    expected = _quotient(((true @ cost) * predicted).sum(axis=-1), true.sum(axis=-1))
    return _quotient(expected - found, expected)


def f1_of_classes(tallies: Tallies) -> Scores:
    """Return the F1 of each class, float64 [..., k]; 0 for a class without rows and predictions."""
    correct, true, predicted = _parts(tallies)
    return _quotient(2 * correct, true + predicted)


def rows_of_classes(tallies: Tallies) -> NDArray[np.int64]:
    """Return the number of rows of each true class, int64 [..., k]."""
    return _parts(tallies)[1]


def _parts(tallies: Tallies) -> tuple[Tallies, Tallies, Tallies]:
    """Return correct rows, rows by true class, rows by predicted class: int64 [..., k] each."""
    num_labels = tallies.shape[-1] // 3
    correct, true, predicted = (
        tallies[..., part * num_labels : (part + 1) * num_labels] for part in range(3)
    )
    return correct, true, predicted


def _quotient(above: NDArray[np.number], below: NDArray[np.number]) -> Scores:
    below = np.asarray(below, dtype=np.float64)
    quotient = np.divide(above, below, out=np.zeros(below.shape), where=below > 0)
    return np.asarray(quotient, dtype=np.float64)


_METRICS: dict[str, tuple[str, Callable[[Tallies], Scores]]] = {
    DEFAULT_METRIC: ("macro-F1", f1_macro),
    "f1_weighted": ("weighted F1", _f1_weighted),
    "accuracy": ("accuracy", accuracies),
    "balanced_accuracy": ("balanced accuracy", balanced_accuracies),
    "mcc": ("Matthews correlation", matthews_correlations),
    "kappa_quadratic": ("quadratic kappa", lambda tallies: kappas(tallies, "quadratic")),
}
"""Each metric by its name: its label for people, and the function that computes it from tallies."""

METRICS_HELP = (
    "Metric on the validation rows by which configurations are compared: "
    + ", ".join(_METRICS)
    + " (kappa: only for labels that are a scale), or f1:LABEL."
)
"""Explanation of `search.metric` in the help of commands."""

_ONLY_ORDERED = {"kappa_quadratic"}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The metric by which a search compares; `objective` makes it from a configuration."""

    name: str
    """As in `search.metric` and in the files."""
    label: str
    """Name for people."""
    num_labels: int
    higher_is_better: bool = True
    """True for every metric so far."""
    code: int | None = None
    """Code of the class whose F1 it is; None: it is a metric of all classes."""

    def of_tallies(self, tallies: Tallies) -> Scores:
        """Return the scores of many sets of rows, float64 [...], from their `Tallies`."""
        if self.code is not None:
            return np.asarray(f1_of_classes(tallies)[..., self.code], dtype=np.float64)
        return _METRICS[self.name][1](tallies)

    def score(self, labels: Codes, predictions: Codes) -> float:
        """Return the score of predictions, int64 [rows], against labels, int64 [rows]."""
        return float(self.of_tallies(tallies_of(labels, predictions, self.num_labels)))

    def constant_score(self, labels: Codes) -> float:
        """Return the best score of a constant predictor on `labels`, int64 [rows]."""
        constants = (np.full_like(labels, code) for code in range(self.num_labels))
        return max(self.score(labels, constant) for constant in constants)

    def as_record(self) -> dict[str, Any]:
        """Return the value of `objective` in `search.json` and in the reports."""
        return {
            "name": self.name,
            "label": self.label,
            "higher_is_better": self.higher_is_better,
        }


def objective(metric: str, labels: Sequence[str], *, ordered: bool = True) -> Objective:
    """Return the objective of a configuration.

    Args:
        metric: `search.metric`.
        labels: names of the labels, in the order of their codes.
        ordered: whether the labels are a scale.

    Raises:
        InputError: there is no such metric or label, or the labels have no order.
    """
    if metric.startswith(_F1_OF_LABEL):
        name = metric.removeprefix(_F1_OF_LABEL)
        if name not in labels:
            raise InputError(
                f"search.metric is {metric!r}, but {_F1_OF_LABEL!r} must be followed by"
                f" one of the labels; choose from {', '.join(labels)}"
            )
        return Objective(
            name=metric, label=f"F1 of {name}", num_labels=len(labels), code=labels.index(name)
        )
    if metric not in _METRICS:
        raise InputError(
            f"search.metric is {metric!r}, but must be one of {', '.join(_METRICS)}, or"
            f" {_F1_OF_LABEL}LABEL with one of the labels"
        )
    if metric in _ONLY_ORDERED and not ordered:
        raise InputError(
            f"search.metric is {metric!r}, which measures the distance between two labels, but"
            " these labels have no order; set data.ordered to true if they are a scale, or choose"
            " another metric"
        )
    return Objective(name=metric, label=_METRICS[metric][0], num_labels=len(labels))


def tallies_of(labels: Codes, predictions: Codes, num_labels: int) -> Tallies:
    """Return the tallies of one set of rows."""
    one_group = np.zeros(len(labels), dtype=np.int64)
    return np.asarray(tallies_of_groups(labels, predictions, one_group, num_labels)[0])


def tallies_of_groups(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.int64],
    num_labels: int,
) -> Tallies:
    """Return the tallies of each group of rows, in rising order of the group's number.

    Args:
        labels: int64 [n], true codes, n at least 1.
        predictions: int64 [n], predicted codes.
        groups: int64 [n], number of the group of each row.
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


def tallies_of_matrix(matrix: NDArray[np.int64]) -> Tallies:
    """Return the tallies of one confusion matrix, int64 [k, k]: rows true, columns predicted."""
    codes = np.arange(len(matrix))
    distance = np.abs(codes[:, None] - codes)
    sums = [(distance * matrix).sum(), (distance**2 * matrix).sum()]
    return np.concatenate([matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0), sums])
