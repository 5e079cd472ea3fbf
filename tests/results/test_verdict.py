"""Sentences about the result of a search."""

from typing import Any

import pytest

from results.older_runs import OBJECTIVE
from results.verdict import (
    confirmation_verdict,
    describe_result,
    describe_sensitivity,
    describe_significance,
)


def record(**changes: Any) -> dict[str, Any]:
    """Return the content of a `search.json`."""
    best = {"trial_id": "t0003", "search_score": 0.7123, "score": 0.7012, "at_edge": []}
    default = {"trial_id": "t0000", "search_score": 0.6, "score": 0.61}
    parameters = {"learning_rate": 0.00031234, "batch_size": 16}
    return {
        "objective": OBJECTIVE,
        "seconds": 61.4,
        "trials": {"completed": 3, "stopped_early": 8, "failed": 1},
        "best": {**best, "parameters": parameters},
        "default": {**default, "parameters": {"learning_rate": 0.0005, "batch_size": 32}},
        "confirmation": None,
        **changes,
    }


def comparison(**changes: Any) -> dict[str, Any]:
    """Return the `winner_beats_default` of a confirmation."""
    return {
        "difference": 0.0912,
        "draws": 3,
        "leader_mean": 0.7012,
        "default_mean": 0.61,
        "standard_error": 0.0123,
        "needed": 0.01845,
        "replaces_default": True,
        "probability_of_lead": 0.998,
        "distinguishable": True,
        **changes,
    }


def verdict_on(found: dict[str, Any] | None, **changes: Any) -> str:
    standing: dict[str, Any] = {
        "default_stays": False,
        "has_challengers": True,
        "default_learnt": True,
        "default_broken": 0,
        "leader_broken": 0,
    }
    verdict = confirmation_verdict(found, **(standing | changes))
    assert "\n" not in verdict
    return verdict


def lines_on(**changes: Any) -> list[str]:
    lines = list(describe_result(record(**changes)))
    assert all("\n" not in line for line in lines)
    return lines


def test_the_trials_are_counted_and_the_winner_is_named_beside_the_default() -> None:
    counts, winner, _ = lines_on()
    assert counts == "trials: 3 completed, 8 stopped early, 1 failed, in 61 s"
    assert winner == (
        "winner t0003 (learning_rate 0.0003123, batch_size 16): validation macro-F1 0.7123 in the"
        " search; default 0.6000"
    )


def test_without_a_confirmation_the_score_is_called_too_high() -> None:
    assert lines_on()[-1] == (
        "not confirmed: the winner's score is the best of many trials and therefore too high"
    )


def test_a_confirmation_reports_the_lead_its_standard_error_and_its_p_value() -> None:
    found = {"winner_beats_default": comparison(), "verdict": verdict_on(comparison())}
    scores, verdict = lines_on(confirmation=found)[2:]
    assert scores == (
        "confirmed on 3 replicates, which were also used for the selection: default 0.6100, best"
        " challenger 0.7012, difference +9.12 points (standard error 1.23)"
    )
    assert verdict == (
        "the winner replaces the default: its mean over the replicates is 9.12 points above the"
        " default's, more than the required 1.85 points; significant difference (one-sided p ="
        " 0.002)"
    )


def test_a_record_of_an_older_version_is_described_by_what_it_has() -> None:
    best = {key: value for key, value in record()["best"].items() if key != "at_edge"}
    older = {"replicates": [{}, {}, {}], "winner_beats_default": {"difference": 0.1}}
    assert len(lines_on(best=best, confirmation=older)) == 2
    assert list(describe_sensitivity(older)) == []


@pytest.mark.parametrize(
    ("smallest", "correlation", "expected"),
    [
        (
            *(0.267, 0.62),
            [
                "With these replicates a difference of 26.7 points would be detected in 80 % of the"
                " cases.",
                "Across replicates the scores of the configurations correlate by 0.62.",
            ],
        ),
        (1.41, None, ["These replicates are too few to detect any difference."]),
        (None, None, []),
    ],
)
def test_the_detectable_difference_and_the_correlation_are_described(
    smallest: float | None, correlation: float | None, expected: list[str]
) -> None:
    found = {"smallest_detectable_difference": smallest, "score_correlation": correlation}
    assert list(describe_sensitivity(found)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "significant difference (one-sided p = 0.002)"),
        ({"probability_of_lead": 0.99999}, "significant difference (one-sided p < 0.001)"),
        (
            {"distinguishable": False, "probability_of_lead": 0.93},
            "no significant difference (one-sided p = 0.070)",
        ),
        ({"distinguishable": False, "probability_of_lead": None}, "no significant difference"),
    ],
)
def test_a_lead_is_significant_or_not_and_has_its_p_value_where_it_is_known(
    changes: dict[str, Any], expected: str
) -> None:
    assert describe_significance(comparison(**changes)) == expected


def test_a_winner_without_a_significant_lead_has_that_in_its_verdict() -> None:
    verdict = verdict_on(comparison(distinguishable=False, probability_of_lead=0.93))
    assert verdict.startswith("the winner replaces the default")
    assert verdict.endswith("no significant difference (one-sided p = 0.070)")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (
            0.01,
            "1.00 points above the default's, but only a lead of more than 1.85 points replaces it",
        ),
        (-0.01, "1.00 points below the default's"),
        (-1e-12, "equal to the default's"),
    ],
)
def test_the_verdict_gives_the_reason_for_which_a_default_stays(
    difference: float, words: str
) -> None:
    verdict = verdict_on(comparison(difference=difference, replaces_default=False))
    assert verdict == (
        f"the default stays: the best challenger's mean over the replicates is {words}"
    )


@pytest.mark.parametrize(
    ("found", "standing", "words"),
    [
        (None, {}, "not confirmed: too few replicates completed for a comparison with the default"),
        (None, {"has_challengers": False}, "no other configuration ended the search with a score"),
        (None, {"default_learnt": False}, "the default, which learnt on none of the replicates"),
        (
            *(comparison(), {"default_broken": 1}),
            "collapsed or diverged on 1 of the replicates; where both learnt, the challenger's mean"
            " is 9.12 points above the default's",
        ),
        (None, {"default_broken": 2}, "too few other replicates are left for a comparison"),
        (
            *(comparison(), {"leader_broken": 1, "default_stays": True}),
            "the default stays: the best challenger collapsed or diverged on 1 of the replicates",
        ),
    ],
)
def test_the_verdict_gives_the_reason_for_which_no_full_comparison_is_possible(
    found: dict[str, Any] | None, standing: dict[str, Any], words: str
) -> None:
    assert words in verdict_on(found, **standing)


def test_a_default_without_a_score_has_none() -> None:
    assert lines_on(default=record()["default"] | {"search_score": None})[1].endswith("none")


@pytest.mark.parametrize(
    ("value", "inside", "position"),
    [(32, True, "at the high end of"), (64, False, "outside (high)")],
)
def test_a_winner_at_the_edge_of_the_space_comes_with_the_range_to_search_next(
    value: int, inside: bool, position: str
) -> None:
    edge = {
        "parameter": "batch_size",
        "value": value,
        "bound": "high",
        "inside": inside,
        "searched": {"choice": [8, 16, 32]},
        "try_next": {"choice": [8, 16, 32, 64]},
    }
    assert lines_on(best={**record()["best"], "at_edge": [edge]})[-1] == (
        f"the winner's batch_size {value} is {position} the searched range (choice [8, 16, 32]):"
        " better values may lie beyond it; search choice [8, 16, 32, 64] next"
    )
