"""What the model and the baseline answer on rows whose labels are known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.texts import LabelledTexts


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers on n rows, in the order of the rows."""

    data: LabelledTexts
    """The rows: record numbers, texts, true codes, near-duplicate groups."""
    probabilities: NDArray[np.float64]
    """Of the model, float64 [n, num_labels]."""
    baseline_predictions: NDArray[np.int64]
    """Codes that the baseline predicts, int64 [n]."""

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The most probable code of each row, the lowest of several: int64 [n]."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the prediction of each row: float64 [n]."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Whether the model's prediction is not the label: bool [n]."""
        return np.asarray(self.predictions != self.data.labels, dtype=np.bool_)

    def most_confident_errors(self) -> NDArray[np.int64]:
        """Places of the wrong rows, the most confident first, ties in their order: int64 [e]."""
        wrong = np.flatnonzero(self.wrong)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]
