import json

import numpy as np
import pytest
from scipy.stats import fisher_exact

from evaluation.error_analysis import (
    NUM_MOST_CONFIDENT,
    SIGNIFICANCE,
    STEEP,
    RowFacts,
    _power,
    analyse_errors,
    error_rate_by_quarter,
    findings,
)
from tests.evaluation.rows import NOT_MEASURED, predictions_of, sure_of

NAMES = ["none", "mild", "moderate", "severe"]
LABELS, PREDICTIONS = [0, 0, 3, 2], [0, 1, 0, 3]


def _answers(confidence=(0.99, 0.5, 0.9, 0.7), **data):
    return predictions_of(LABELS, sure_of(PREDICTIONS, confidence, 4), **data)


def test_mistakes_come_most_confident_first_with_their_record_and_without_their_text():
    answers = _answers(texts=["rahasia"] * 4, rows=np.array([7, 5, 30, 2]))
    found = analyse_errors(answers, NAMES, NOT_MEASURED)
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


def test_errors_are_split_by_how_many_severities_they_are_off():
    found = analyse_errors(_answers(), NAMES, NOT_MEASURED)
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
    assert "Of 3 errors 2 (66.7 %) are one severity off" in found["findings"][0]


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


def test_a_lowest_value_of_most_rows_is_told_from_all_others():
    values = np.array([0.0] * 90 + [0.1, 0.2] * 5)
    quarters = error_rate_by_quarter(values, values > 0.15)
    assert [(row["low"], row["high"], row["rows"], row["errors"]) for row in quarters] == [
        *((0.0, 0.0, 90, 0), (0.1, 0.2, 10, 5))
    ]


def test_no_errors_and_a_long_list_of_errors_are_both_described():
    labels = np.zeros(200, dtype=np.int64)
    for predictions, count in ((labels, 0), (labels + 1, NUM_MOST_CONFIDENT)):
        answers = predictions_of(
            labels, sure_of(predictions, [0.6] * 200, 4), texts=["x" * 100_000] * 199 + [""]
        )
        found = analyse_errors(answers, NAMES, NOT_MEASURED)
        assert len(found["most_confident"]) == count
        assert found["by_characters"][-1]["high"] == 100_000
        assert (found["findings"] == ["No row is wrong."]) == (count == 0)


def test_what_is_the_same_for_every_row_or_unknown_is_null_with_a_reason():
    facts = RowFacts(
        label_confidences=np.full(4, np.nan),
        unknown_shares=None,
        similarities=np.full(4, 0.25),
        fills_max_length=np.zeros(4, dtype=np.bool_),
    )
    found = analyse_errors(_answers(), NAMES, facts)
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
    answers = predictions_of(
        labels, sure_of(np.where(wrong, (labels + 1) % 4, labels), [0.9] * 400, 4)
    )
    found = analyse_errors(answers, NAMES, facts)
    assert [row["rows"] for row in found["by_label_confidence"]] == [98] * 4
    assert found["by_label_confidence"][0]["error_rate"] == 1.0
    assert [row["rows"] for row in found["by_similarity"]] == [100] * 4
    assert found["by_max_length"]["filled"]["error_rate"] == 1.0
    assert found["by_max_length"]["shorter"]["errors"] == 0
    assert json.loads(json.dumps(found, allow_nan=False)) == found


BY_DISTANCE = {
    "neighbouring": {"errors": 30, "share_of_errors": 0.75},
    "distant": {"errors": 10, "share_of_errors": 0.25},
    "mean_absolute_distance": 0.2,
}
NOTHING = dict.fromkeys(
    ("by_similarity", "by_label_confidence", "by_characters", "by_max_length", "by_unknown_share")
)


def _quarters(*errors: int, rows: int = 200) -> list[dict[str, float]]:
    return [
        {
            "low": 0.1 * place,
            "high": 0.1 * place + 0.05,
            "rows": rows,
            "errors": count,
            "error_rate": count / rows,
        }
        for place, count in enumerate(errors)
    ]


def _second(part: str, value: object) -> str:
    _, sentence = findings(BY_DISTANCE, {**NOTHING, part: value})
    return sentence


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((80, 60, 50, 20), "is what a leak or memorising looks like"),
        ((80, 60, 50, 40), "is what a leak or memorising looks like"),
        ((80, 70, 60, 50), "but not steeply"),
        ((80, 75, 75, 72), "does not clearly change"),
        ((20, 50, 60, 80), "rises with similarity"),
    ],
)
def test_a_steep_drop_with_similarity_alone_is_called_what_a_leak_looks_like(errors, words):
    sentence = _second("by_similarity", _quarters(*errors))
    assert words in sentence
    assert (" no sign of a leak" in sentence) == (
        words != "is what a leak or memorising looks like"
    )
    assert f"({errors[0]} of 200)" in sentence
    assert f"({errors[-1]} of 200)" in sentence


@pytest.mark.parametrize(
    ("errors", "rows"), [((4, 0, 0, 2), 200), ((0, 3, 2, 1), 200), ((20, 19, 18, 17), 50)]
)
def test_rows_that_could_not_show_a_steep_drop_are_not_called_free_of_a_leak(errors, rows):
    sentence = _second("by_similarity", _quarters(*errors, rows=rows))
    assert "cannot be told from so few rows and errors" in sentence
    assert "no sign" not in sentence
    enough = _second("by_similarity", _quarters(*(40 * count for count in errors), rows=40 * rows))
    assert "cannot be told" not in enough


@pytest.mark.parametrize(("rate", "rows"), [(0.4, 80), (0.4, 200), (0.1, 500), (0.8, 30)])
def test_the_chance_of_seeing_a_steep_drop_is_that_of_fishers_test(rate, rows):
    rng = np.random.default_rng(0)
    first, second = (rng.binomial(rows, share, 2000) for share in (rate, STEEP * rate))
    tables = zip(first.tolist(), second.tolist(), strict=True)
    seen = [fisher_exact([[a, rows - a], [b, rows - b]]).pvalue < SIGNIFICANCE for a, b in tables]
    part = {"rows": rows, "error_rate": rate}
    assert _power(part, part) == pytest.approx(np.mean(seen), abs=0.06)


@pytest.mark.parametrize(
    ("part", "subject", "clear"),
    [
        ("by_label_confidence", "Rows whose label is least sure (0 to 0.05)", (80, 60, 40, 20)),
        ("by_characters", "The longest texts (0.3 to 0.35 characters)", (20, 40, 60, 80)),
        ("by_unknown_share", "Texts with the largest share of unknown", (20, 40, 60, 80)),
    ],
)
def test_a_difference_is_told_with_its_direction_or_said_not_to_be_clear(part, subject, clear):
    sentence = _second(part, _quarters(*clear))
    assert sentence.startswith(subject)
    assert "are wrong more often than" in sentence
    assert "40.0 % (80 of 200) against 10.0 % (20 of 200), p < 0.0001" in sentence
    assert "are wrong less often than" in _second(part, _quarters(*clear[::-1]))
    assert "are not clearly wrong more or less often than" in _second(part, _quarters(*[40] * 4))


def test_rows_that_fill_the_models_length_are_held_against_shorter_ones():
    filled, shorter = _quarters(90, 20)
    sentence = _second("by_max_length", {"filled": filled, "shorter": shorter})
    assert "whose end may be cut, are wrong more often than shorter ones: 45.0 %" in sentence


def test_parts_that_are_null_have_no_sentence():
    assert findings(BY_DISTANCE, NOTHING) == [
        "Of 40 errors 30 (75.0 %) are one severity off; over all rows the mean distance is 0.20."
    ]
