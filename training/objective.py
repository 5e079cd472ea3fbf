"""The objective: the one metric by which a search decides, and all that depends on which it is.

Every other module takes the objective, or a `score` that it gave, and names no metric to decide
by. Gates keep metrics of their own, and the files list a few beside the score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import InputError

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


Codes = NDArray[np.int64]

DEFAULT_METRIC = "f1_macro"

STEP = 0.01
"""The step in which people read a score: one point."""

NEGLIGIBLE = STEP / 2
"""A difference of scores that is not worth another replicate once it is excluded."""

CLEARLY_ABOVE = 5 * STEP
"""Score above the best constant predictor's that counts as having begun to learn: about three
standard errors of macro-F1 on a thousand validation rows."""

_OF_CLASS = "f1:"


def f1_macro(tallies: Tallies) -> Scores:
    """Macro-F1, over all classes of the configuration: float64 [...]."""
    return np.asarray(f1_of_classes(tallies).mean(axis=-1), dtype=np.float64)


def _f1_weighted(tallies: Tallies) -> Scores:
    rows = rows_of_classes(tallies)
    weighted = (f1_of_classes(tallies) * rows).sum(axis=-1) / rows.sum(axis=-1)
    return np.asarray(weighted, dtype=np.float64)


_METRICS: dict[str, tuple[str, Callable[[Tallies], Scores]]] = {
    DEFAULT_METRIC: ("macro-F1", f1_macro),
    "f1_weighted": ("weighted F1", _f1_weighted),
    "accuracy": ("accuracy", accuracies),
    "balanced_accuracy": ("balanced accuracy", balanced_accuracies),
    "mcc": ("Matthews correlation", matthews_correlations),
    "kappa_quadratic": ("quadratic kappa", lambda tallies: kappas(tallies, "quadratic")),
}
"""By name: the label for people, and the score of tallies."""

METRICS_HELP = (
    "What decides, on the validation rows: "
    + ", ".join(_METRICS)
    + " (kappa: of labels that are a scale), or f1:LABEL."
)
"""For the help of commands."""

_OF_ORDERED_LABELS = {"kappa_quadratic"}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What decides: a score of predictions; `objective` makes one from a configuration."""

    name: str
    """As `search.metric` has it, and the files."""
    label: str
    """For people."""
    num_labels: int
    higher_is_better: bool = True
    """Of every metric there is so far."""
    code: int | None = None
    """Of the class whose F1 it is; None: it is a metric of all classes."""

    def of_tallies(self, tallies: Tallies) -> Scores:
        """Scores of many sets of rows at once.

        Args:
            tallies: int64 [..., 3 * num_labels + 2], see `training.objective`.

        Returns:
            float64 [...].
        """
        if self.code is not None:
            return np.asarray(f1_of_classes(tallies)[..., self.code], dtype=np.float64)
        return _METRICS[self.name][1](tallies)

    def score(self, labels: Codes, predictions: Codes) -> float:
        """The score of predictions, int64 [rows], against labels, int64 [rows]."""
        return float(self.of_tallies(tallies_of(labels, predictions, self.num_labels)))

    def constant_score(self, labels: Codes) -> float:
        """The best score of a predictor that gives all rows (labels int64 [rows]) one class."""
        constants = (np.full_like(labels, code) for code in range(self.num_labels))
        return max(self.score(labels, constant) for constant in constants)

    def as_record(self) -> dict[str, Any]:
        """`objective` of `search.json` and of the reports."""
        return {
            "name": self.name,
            "label": self.label,
            "higher_is_better": self.higher_is_better,
        }


def objective(metric: str, labels: Sequence[str], *, ordered: bool = True) -> Objective:
    """The objective of a configuration.

    Args:
        metric: `search.metric`.
        labels: names in the order of their codes.
        ordered: whether the labels are a scale.

    Raises:
        InputError: there is no such metric or label, or the labels have no order.
    """
    if metric.startswith(_OF_CLASS):
        name = metric.removeprefix(_OF_CLASS)
        if name not in labels:
            raise InputError(
                f"search.metric is {metric!r}, but after {_OF_CLASS!r} must stand one of the"
                f" labels: {', '.join(labels)}"
            )
        return Objective(
            name=metric, label=f"F1 of {name}", num_labels=len(labels), code=labels.index(name)
        )
    if metric not in _METRICS:
        raise InputError(
            f"search.metric is {metric!r}, but must be one of {', '.join(_METRICS)}, or"
            f" {_OF_CLASS}LABEL with one of the labels"
        )
    if metric in _OF_ORDERED_LABELS and not ordered:
        raise InputError(
            f"search.metric is {metric!r}, which counts how far apart two labels are, but these"
            " labels have no order; set data.ordered to true if they are a scale, or take another"
            " metric"
        )
    return Objective(name=metric, label=_METRICS[metric][0], num_labels=len(labels))


def tallies_of(labels: Codes, predictions: Codes, num_labels: int) -> Tallies:
    """Tallies of one set of rows: int64 [3 * num_labels + 2]."""
    one_group = np.zeros(len(labels), dtype=np.int64)
    return np.asarray(tallies_of_groups(labels, predictions, one_group, num_labels)[0])
