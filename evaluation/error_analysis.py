"""Which rows a model gets wrong: how surely, how far off, and at what length of text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scores import equal_mass_bins

NUM_MOST_CONFIDENT = 50
"""Most confident mistakes that the analysis lists."""


def analyse_errors(
    *,
    texts: Sequence[str],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    names: Sequence[str],
) -> dict[str, Any]:
    """Describe the mistakes; no text is repeated in the answer.

    Args:
        texts: [n], only their lengths are used.
        labels: int64 [n], true codes; codes are ordered by severity.
        predictions: int64 [n], predicted codes.
        probabilities: float64 [n, num_labels].
        names: [num_labels], names in the order of the codes.

    Returns:
        `rows`, `errors`, `error_rate`; `most_confident` [{index (position in these arrays, from
        0), label, prediction, confidence}]; `by_distance` (below); `by_characters`: a quarter of
        the rows each, as `error_rate_by_quarter` has it, values being lengths in characters.
    """
    assert len(texts) == len(labels) == len(predictions) == len(probabilities) > 0
    wrong = labels != predictions
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return {
        "rows": len(labels),
        "errors": int(wrong.sum()),
        "error_rate": float(wrong.mean()),
        "most_confident": [
            {
                "index": int(index),
                "label": names[labels[index]],
                "prediction": names[predictions[index]],
                "confidence": float(probabilities[index, predictions[index]]),
            }
            for index in most_confident_errors(labels, predictions, probabilities)[
                :NUM_MOST_CONFIDENT
            ]
        ],
        "by_distance": _by_distance(predictions - labels),
        "by_characters": error_rate_by_quarter(lengths, wrong),
    }


def most_confident_errors(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Positions of the wrong rows, the most confident first: int64 [num_errors].

    The confidence of a row is the probability of its prediction; ties keep their order.
    """
    wrong = np.flatnonzero(labels != predictions)
    confidence = probabilities[wrong, predictions[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")]


def error_rate_by_quarter(values: NDArray[Any], wrong: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Error rate in four bins of about equal count, by rising value.

    Args:
        values: number [n], what the rows are sorted by; equal values share a bin.
        wrong: bool [n], whether the prediction is wrong.

    Returns:
        [{low, high, rows, errors, error_rate}], `low` and `high` both met in the bin; fewer
        than four where values are equal.
    """
    return [
        {
            "low": values[members].min().item(),
            "high": values[members].max().item(),
            "rows": len(members),
            "errors": int(wrong[members].sum()),
            "error_rate": float(wrong[members].mean()),
        }
        for members in equal_mass_bins(values, 4)
    ]


def _by_distance(steps: NDArray[np.int64]) -> dict[str, Any]:
    """Errors by how many severities they are off: `neighbouring` is 1, `distant` more."""
    num_errors = int(np.count_nonzero(steps))

    def part(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        count = int(chosen.sum())
        return {"errors": count, "share_of_errors": count / max(num_errors, 1)}

    return {
        "neighbouring": part(np.abs(steps) == 1),
        "distant": part(np.abs(steps) > 1),
        "too_severe": part(steps > 0),
        "too_mild": part(steps < 0),
    }
