import numpy as np
import pytest
from scipy.stats import fisher_exact

from evaluation.error_analysis import SIGNIFICANCE, STEEP, _power, findings

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
