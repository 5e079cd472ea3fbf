"""The figures beside a verdict: what they are before and after the test, with their intervals."""

from typing import Any

import pytest

from results.key_figures import KeyFigure, key_figures
from tests.results.report import last_rung, runs


def parts(found: list[KeyFigure]) -> list[tuple[str, float, Any]]:
    assert len(found) <= 3
    return [(one.name, round(one.score, 4), one.interval) for one in found]


def test_after_the_test_they_are_model_baseline_and_default() -> None:
    test = runs.evaluation_report(method={"rows": 1366})
    test["baseline"]["confidence_intervals"] = {"score": [0.6, 0.6]}  # a point is no interval
    found = key_figures(last_rung.record(), test)
    half_width = 4.30265 * 0.01 / 3**0.5  # Student's t of three replicates, deviation 0.01
    around = pytest.approx((0.61 - half_width, 0.61 + half_width), abs=1e-6)
    assert parts(found) == [
        ("this model", 0.7, (0.65, 0.75)),
        ("TF-IDF", 0.7, None),
        ("default configuration", 0.61, around),
    ]
    assert "1,366 test rows" in found[0].origin
    assert found[2].origin.endswith("where this model has 0.680")


def test_two_replicates_have_no_interval() -> None:
    record = last_rung.record()
    record["confirmation"]["candidates"][0]["score"] = [0.6, 0.62, None]
    default = key_figures(record, runs.evaluation_report())[-1]
    assert default.interval is None
    assert default.origin.startswith("mean of 2 replicates")


def test_before_the_test_they_are_winner_default_and_baseline_on_validation_rows() -> None:
    found = key_figures(last_rung.record(baseline={"name": "TF-IDF", "score": 0.6543}), None)
    assert [(one.name, round(one.score, 4)) for one in found] == [
        ("winner", 0.68),
        ("default configuration", 0.61),
        ("TF-IDF", 0.6543),
    ]
    assert all("validation rows" in one.origin for one in found)


def test_a_default_that_wins_is_one_figure_that_names_it_as_winner() -> None:
    record = last_rung.record()
    record["best"] = record["default"]
    (found,) = key_figures(record, None)
    assert found.name == "default configuration (the winner)"


def test_without_a_confirmation_they_are_search_scores_that_are_named_as_such() -> None:
    best, default = key_figures(last_rung.record(confirmation=None), None)
    assert parts([best, default]) == [
        ("best trial", 0.6, None),
        ("default configuration", 0.45, None),
    ]
    assert "too high" in best.origin
    assert "one training" in default.origin


def test_a_search_without_scores_has_no_figures_but_the_baseline() -> None:
    empty: dict[str, Any] = {"best": None, "default": None, "confirmation": None}
    assert key_figures(last_rung.record(**empty), None) == []
    baseline = {"name": "TF-IDF", "score": 0.5}
    (found,) = key_figures(last_rung.record(**empty, baseline=baseline), None)
    assert found.score == 0.5
