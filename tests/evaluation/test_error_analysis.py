import json

import numpy as np
import pytest

from evaluation.error_analysis import (
    NUM_MOST_CONFIDENT,
    analyse_errors,
    error_rate_by_quarter,
    findings,
)
from evaluation.predictions import RowFacts
from tests.evaluation.rows import NOT_MEASURED, predictions_of, sure_of

NAMES = ["none", "mild", "moderate", "severe"]
LABELS, PREDICTIONS = [0, 0, 3, 2], [0, 1, 0, 3]


def _predictions(confidence=(0.99, 0.5, 0.9, 0.7), **data):
    return predictions_of(LABELS, sure_of(PREDICTIONS, confidence, 4), **data)


def test_errors_are_listed_most_confident_first_with_their_row_and_without_their_text():
    predictions = _predictions(texts=["rahasia"] * 4, rows=np.array([7, 5, 30, 2]))
    found = analyse_errors(predictions, NAMES, NOT_MEASURED, is_ordered=True)
    assert [(row["index"], row["row"]) for row in found["most_confident"]] == [
        *((2, 30), (3, 2), (1, 5))
    ]
    assert found["most_confident"][0] == {
        "index": 2,
        "row": 30,
        "label": "severe",
        "prediction": "none",
        "confidence": pytest.approx(0.9),
    }
    assert "rahasia" not in json.dumps(found, allow_nan=False)


def test_errors_are_split_by_the_steps_between_label_and_prediction():
    found = analyse_errors(_predictions(), NAMES, NOT_MEASURED, is_ordered=True)
    assert (found["rows"], found["errors"], found["error_rate"]) == (4, 3, 0.75)
    by_distance = found["by_distance"]
    assert by_distance["neighbouring"] == {"errors": 2, "share_of_errors": 2 / 3}
    assert by_distance["distant"]["errors"] == 1
    assert by_distance["too_severe"]["errors"] == 2
    assert by_distance["too_mild"]["errors"] == 1
    assert by_distance["mean_absolute_distance"] == (1 + 3 + 1) / 4
    keys = ("distance", "rows", "too_severe", "too_mild")
    assert [tuple(row[key] for key in keys) for row in by_distance["distribution"]] == [
        *((0, 1, 0, 0), (1, 2, 2, 0), (2, 0, 0, 0), (3, 1, 0, 1))
    ]
    assert [pair["errors"] for pair in by_distance["most_frequent"]] == [1, 1, 1]
    assert sorted(pair["steps"] for pair in by_distance["most_frequent"]) == [1, 1, 3]
    assert found["findings"][0].startswith(
        "In 2 of 3 errors (66.7 %) label and prediction are one step apart; the mean over all rows"
        " is 1.25 steps. The most frequent error: 'none' taken for 'mild', one step apart, once."
    )


def test_quarters_hold_every_row_once_and_equal_values_together():
    values = np.array([1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7], dtype=np.float64)
    quarters = error_rate_by_quarter(values, values > 4)
    assert sum(row["rows"] for row in quarters) == 12
    # Wilson's interval of 0 of 6 and 3 of 3, z being 1.96.
    square = 1.959964**2
    first = {"low": 1, "high": 1, "rows": 6, "errors": 0, "error_rate": 0.0}
    assert quarters[0] == {**first, "interval": pytest.approx([0.0, square / (6 + square)])}
    last = {"low": 5, "high": 7, "rows": 3, "errors": 3, "error_rate": 1.0}
    assert quarters[-1] == {**last, "interval": pytest.approx([3 / (3 + square), 1.0])}


def test_a_lowest_value_that_most_rows_have_is_separated_from_all_others():
    values = np.array([0.0] * 90 + [0.1, 0.2] * 5)
    quarters = error_rate_by_quarter(values, values > 0.15)
    assert [(row["low"], row["high"], row["rows"], row["errors"]) for row in quarters] == [
        *((0.0, 0.0, 90, 0), (0.1, 0.2, 10, 5))
    ]


def test_no_errors_and_a_long_list_of_errors_are_both_described():
    labels = np.zeros(200, dtype=np.int64)
    for predictions, count in ((labels, 0), (labels + 1, NUM_MOST_CONFIDENT)):
        predictions = predictions_of(
            labels, sure_of(predictions, [0.6] * 200, 4), texts=["x" * 100_000] * 199 + [""]
        )
        found = analyse_errors(predictions, NAMES, NOT_MEASURED, is_ordered=True)
        assert len(found["most_confident"]) == count
        assert found["by_characters"][-1]["high"] == 100_000
        assert (found["findings"] == ["No row is misclassified."]) == (count == 0)


def test_what_is_the_same_for_every_row_or_unknown_is_null_with_a_reason():
    facts = RowFacts(
        label_confidences=np.full(4, np.nan),
        unknown_shares=None,
        similarities=np.full(4, 0.25),
        fills_max_length=np.zeros(4, dtype=np.bool_),
    )
    found = analyse_errors(_predictions(), NAMES, facts, is_ordered=True)
    assert found["not_analysed"] == {
        "by_characters": "it is 3 in every row",
        "by_label_confidence": "no row has a value",
        "by_unknown_share": "not measured",
        "by_similarity": "it is 0.25 in every row",
        "by_max_length": "no row fills it",
    }
    assert all(found[name] is None for name in found["not_analysed"])
    assert len(found["findings"]) == 1


def test_each_quantity_is_analysed_over_the_rows_that_have_it():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    confidences = rng.uniform(0.7, 1.0, 400)
    wrong = confidences < 0.8
    confidences[:8] = np.nan
    facts = RowFacts(
        label_confidences=confidences,
        unknown_shares=rng.random(400),
        similarities=rng.random(400),
        fills_max_length=wrong,
    )
    predictions = predictions_of(
        labels, sure_of(np.where(wrong, (labels + 1) % 4, labels), [0.9] * 400, 4)
    )
    found = analyse_errors(predictions, NAMES, facts, is_ordered=True)
    assert [row["rows"] for row in found["by_label_confidence"]] == [98] * 4
    assert found["by_label_confidence"][0]["error_rate"] == 1.0
    assert [row["rows"] for row in found["by_similarity"]] == [100] * 4
    assert found["by_max_length"]["filled"]["error_rate"] == 1.0
    assert found["by_max_length"]["shorter"]["errors"] == 0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


RATE = {"rows": 200, "errors": 40, "error_rate": 0.2}
BY_DISTANCE = {
    "neighbouring": {"errors": 30, "share_of_errors": 0.75},
    "distant": {"errors": 10, "share_of_errors": 0.25},
    "mean_absolute_distance": 0.2,
    "most_frequent": [{"label": "mild", "prediction": "severe", "steps": 3, "errors": 12}],
}
NOTHING = dict.fromkeys(
    ("by_similarity", "by_label_confidence", "by_characters", "by_max_length", "by_unknown_share")
)


def _quarters(*errors: int, rows: int = 200) -> list[dict[str, float]]:
    return [
        {
            "low": 0.1 * index,
            "high": 0.1 * index + 0.05,
            "rows": rows,
            "errors": count,
            "error_rate": count / rows,
        }
        for index, count in enumerate(errors)
    ]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (
            "by_similarity",
            "Error rate by similarity to the nearest training text: 40.0 % (80 of 200) for the"
            " least similar texts (0 to 0.05), 10.0 % (20 of 200) for the most similar (0.3 to"
            " 0.35).",
        ),
        (
            "by_label_confidence",
            "Error rate by the labeller's confidence: 40.0 % (80 of 200) for the least confident"
            " labels (0 to 0.05), 10.0 % (20 of 200) for the most confident (0.3 to 0.35).",
        ),
        (
            "by_characters",
            "Error rate by length of the text: 40.0 % (80 of 200) for the shortest texts (0 to"
            " 0.05 characters), 10.0 % (20 of 200) for the longest (0.3 to 0.35).",
        ),
        (
            "by_unknown_share",
            "Error rate by share of unknown tokens: 40.0 % (80 of 200) for the smallest shares (0"
            " to 0.05), 10.0 % (20 of 200) for the largest (0.3 to 0.35).",
        ),
    ],
)
def test_a_part_in_bins_is_one_sentence_of_counts_in_the_first_and_the_last_bin(part, sentence):
    found = findings(RATE, BY_DISTANCE, {**NOTHING, part: _quarters(80, 60, 40, 20)})
    assert found[1:] == [sentence]


def test_texts_that_fill_the_maximum_length_are_compared_with_shorter_ones():
    filled, shorter = ({"rows": 200, "errors": n, "error_rate": n / 200} for n in (90, 20))
    part = {"filled": filled, "shorter": shorter}
    assert findings(RATE, BY_DISTANCE, {**NOTHING, "by_max_length": part})[1:] == [
        "Error rate by the model's maximum length: 45.0 % (90 of 200) for texts that fill it and"
        " may be truncated, 10.0 % (20 of 200) for shorter texts."
    ]


def test_parts_that_are_null_have_no_sentence():
    assert findings(RATE, BY_DISTANCE, NOTHING) == [
        "In 30 of 40 errors (75.0 %) label and prediction are one step apart; the mean over all"
        " rows is 0.20 steps. The most frequent error: 'mild' taken for 'severe', 3 steps apart,"
        " 12 times."
    ]


def test_labels_that_are_not_a_scale_have_no_steps():
    found = analyse_errors(_predictions(), NAMES, NOT_MEASURED, is_ordered=False)
    assert "distance" not in json.dumps(found)
    assert "step" not in json.dumps(found)
