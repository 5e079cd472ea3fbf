"""Labelled rows and answers on them, for the tests of the reports."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.baseline import Answers
from evaluation.error_analysis import RowFacts
from training.texts import LabelledTexts


def answers_of(
    labels: Any, probabilities: NDArray[np.float64], *, baseline: Any = None, **data: Any
) -> Answers:
    """Answers on rows of these labels, each row a group of its own, the baseline right."""
    labels = np.asarray(labels, dtype=np.int64)
    places = np.arange(len(labels))
    fields = {"rows": places, "texts": ["aku"] * len(labels), "groups": places, **data}
    return Answers(
        data=LabelledTexts(labels=labels, **fields),
        probabilities=np.asarray(probabilities, dtype=np.float64),
        baseline_predictions=labels if baseline is None else np.asarray(baseline, dtype=np.int64),
    )


def sure_of(predictions: Any, confidence: Any, num_labels: int) -> NDArray[np.float64]:
    """Probabilities that give each prediction its confidence, the others sharing the rest."""
    chances = np.asarray(confidence, dtype=np.float64)
    rows = np.repeat((1 - chances)[:, None] / (num_labels - 1), num_labels, axis=1)
    rows[np.arange(len(rows)), predictions] = chances
    return rows


NOT_MEASURED = RowFacts(
    label_confidences=None, unknown_shares=None, similarities=None, fills_max_length=None
)
