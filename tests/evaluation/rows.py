"""Build labelled rows and predictions on them, for the tests of the reports."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.predictions import Predictions, RowFacts
from training.texts import LabelledTexts


def predictions_of(
    labels: Any, probabilities: NDArray[np.float64], *, baseline: Any = None, **data: Any
) -> Predictions:
    """Predictions on rows with these labels; each row is its own group, the baseline is right."""
    labels = np.asarray(labels, dtype=np.int64)
    indices = np.arange(len(labels))
    fields = {"rows": indices, "texts": ["aku"] * len(labels), "groups": indices, **data}
    return Predictions(
        data=LabelledTexts(labels=labels, **fields),
        probabilities=np.asarray(probabilities, dtype=np.float64),
        of_baseline=labels if baseline is None else np.asarray(baseline, dtype=np.int64),
    )


def sure_of(predictions: Any, confidence: Any, num_labels: int) -> NDArray[np.float64]:
    """Probabilities: each prediction has its confidence, the other classes share the rest."""
    chances = np.asarray(confidence, dtype=np.float64)
    rows = np.repeat((1 - chances)[:, None] / (num_labels - 1), num_labels, axis=1)
    rows[np.arange(len(rows)), predictions] = chances
    return rows


NOT_MEASURED = RowFacts(
    label_confidences=None, unknown_shares=None, similarities=None, fills_max_length=None
)
