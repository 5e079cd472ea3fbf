"""The objective: the one metric by which a search decides, and all that depends on which it is.

Every other module takes the objective, or a `score` that it gave, and names no metric to decide
by. Gates keep metrics of their own, and the files list a few beside the score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.confusion import (
    Scores,
    Tallies,
    accuracies,
    balanced_accuracies,
    f1_of_classes,
    kappas,
    matthews_correlations,
    rows_of_classes,
    tallies_of_groups,
)
from training.errors import InputError

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

METRICS_TOLD = (
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
            tallies: int64 [..., 3 * num_labels + 2], see `training.confusion`.

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
