import json

import numpy as np
import pytest

from evaluation.error_analysis import NUM_MOST_CONFIDENT, analyse_errors, error_rate_by_quarter

NAMES = ["none", "mild", "moderate", "severe"]


def _probabilities(predictions, confidence):
    rows = np.repeat((1 - np.asarray(confidence))[:, None] / 3, 4, axis=1)
    rows[np.arange(len(rows)), predictions] = confidence
    return rows


def test_mistakes_come_most_confident_first_without_their_text():
    labels, predictions = np.array([0, 0, 3, 2]), np.array([0, 1, 0, 3])
    found = analyse_errors(
        texts=["rahasia"] * 4,
        labels=labels,
        predictions=predictions,
        probabilities=_probabilities(predictions, [0.99, 0.5, 0.9, 0.7]),
        names=NAMES,
    )
    assert [row["index"] for row in found["most_confident"]] == [2, 3, 1]
    assert found["most_confident"][0] == {
        "index": 2,
        "label": "severe",
        "prediction": "none",
        "confidence": pytest.approx(0.9),
    }
    assert "rahasia" not in json.dumps(found, allow_nan=False)


def test_errors_are_split_into_neighbouring_and_distant_severities():
    labels, predictions = np.array([0, 0, 3, 2]), np.array([0, 1, 0, 3])
    found = analyse_errors(
        texts=[""] * 4,
        labels=labels,
        predictions=predictions,
        probabilities=_probabilities(predictions, [0.9] * 4),
        names=NAMES,
    )
    assert (found["rows"], found["errors"], found["error_rate"]) == (4, 3, 0.75)
    assert found["by_distance"]["neighbouring"] == {"errors": 2, "share_of_errors": 2 / 3}
    assert found["by_distance"]["distant"]["errors"] == 1
    assert found["by_distance"]["too_severe"]["errors"] == 2
    assert found["by_distance"]["too_mild"]["errors"] == 1


def test_quarters_hold_every_row_once_and_equal_values_together():
    values = np.array([1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7])
    wrong = values > 4
    quarters = error_rate_by_quarter(values, wrong)
    assert sum(row["rows"] for row in quarters) == 12
    assert quarters[0] == {"low": 1, "high": 1, "rows": 6, "errors": 0, "error_rate": 0.0}
    assert quarters[-1] == {"low": 5, "high": 7, "rows": 3, "errors": 3, "error_rate": 1.0}


def test_no_errors_and_a_long_list_of_errors_are_both_described():
    labels = np.zeros(200, dtype=np.int64)
    for predictions, count in ((labels, 0), (labels + 1, NUM_MOST_CONFIDENT)):
        found = analyse_errors(
            texts=["x" * 100_000] * 200,
            labels=labels,
            predictions=predictions,
            probabilities=_probabilities(predictions, [0.6] * 200),
            names=NAMES,
        )
        assert len(found["most_confident"]) == count
        assert found["by_characters"][0]["high"] == 100_000
