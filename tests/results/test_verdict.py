"""Sentences about the result of a search."""

from typing import Any

import pytest

from results.older_runs import OBJECTIVE
from results.score_names import describe_epochs
from results.verdict import (
    confirmation_verdict,
    confirmed_score,
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


def last_rung(**changes: Any) -> dict[str, Any]:
    """Return the record of a search whose trials end after 3 of 6 epochs."""
    found = record()
    ended = {"completed": 0, "stopped_early": 11, "ended_at_last_rung": 3, "failed": 1}
    return {
        **found,
        "search": {"rows_per_epoch": 100, "budget": 600, "rungs": [100, 300]}
        | {"ends_at_last_rung": True},
        "trials": ended,
        "best": found["best"] | {"search_epochs": 3.04},
        "default": found["default"] | {"search_epochs": 1.0},
        **changes,
    }


def test_where_trials_end_at_the_last_rung_those_are_counted_and_scores_have_their_epochs() -> None:
    counts, winner, _ = describe_result(last_rung())
    assert counts == (
        "trials: 3 ended at the last rung (after 3 of 6 epochs), 8 stopped early, 1 failed, in 61 s"
    )
    assert winner.endswith(
        "validation macro-F1 0.7123 after 3 of 6 epochs in the search; default 0.6000 after 1 of 6"
        " epochs"
    )


def test_a_trial_that_was_not_judged_at_the_last_rung_is_counted_at_the_full_budget() -> None:
    trials = last_rung()["trials"] | {"completed": 1}
    counts = next(iter(describe_result(last_rung(trials=trials))))
    assert "epochs), 1 trained to the full budget, 8 stopped early, 1 failed" in counts


@pytest.mark.parametrize(
    ("epochs", "full", "expected"),
    [
        (3.0, 6.0, "after 3 of 6 epochs"),
        (3.017, 6.0, "after 3.02 of 6 epochs"),
        (1.75, 20.0, "after 1.75 of 20 epochs"),
        (0.25, 3.0, "after 0.25 of 3 epochs"),
        (6.0, 6.0, ""),
        (None, 6.0, ""),
        (3.0, None, ""),
    ],
)
def test_a_score_of_a_shorter_training_has_its_epochs(
    epochs: float | None, full: float | None, expected: str
) -> None:
    assert describe_epochs(epochs, full) == expected


def test_a_default_that_wins_is_named_once() -> None:
    winner = list(describe_result(record(best=record()["default"] | {"at_edge": []})))[1]
    assert winner == (
        "winner t0000, the default (learning_rate 0.0005, batch_size 32): validation macro-F1"
        " 0.6000 in the search"
    )


def test_a_default_without_challenger_has_its_mean_over_the_replicates() -> None:
    default = last_rung()["default"]
    candidate = {"parameters": default["parameters"], "score": [0.6, 0.62], "mean": 0.61}
    found = {"candidates": [candidate], "winner_beats_default": None}
    found["verdict"] = verdict_on(None, has_challengers=False, default_stays=True)
    lines = list(describe_result(last_rung(best=default | {"score": 0.61}, confirmation=found)))
    assert lines[2:] == [
        "macro-F1 of the winner on replicates: 0.6100",
        "the default stays: no other configuration ended the search with a score",
    ]


def test_only_a_candidate_with_a_score_on_a_replicate_has_a_confirmed_one() -> None:
    best = record()["best"]
    candidate = {"parameters": best["parameters"], "score": [None, 0.7]}
    confirmed = record(confirmation={"candidates": [candidate]})
    assert confirmed_score(confirmed, "best") == best["score"]
    assert confirmed_score(confirmed, "default") is None
    undecided = record(confirmation={"candidates": [candidate | {"score": [None, None]}]})
    assert confirmed_score(undecided, "best") is None
    assert confirmed_score(record(), "best") is None


@pytest.mark.parametrize(
    ("difference", "needed", "out_of_reach_of", "words"),
    [
        (
            *(-0.012, None, 5),
            "1.20 points below the default's, and after 2 of at most 5 replicates a win was out of"
            " reach",
        ),
        (
            *(0.001, 0.03, 5),
            "0.10 points above the default's, and after 2 of at most 5 replicates a win was out of"
            " reach",
        ),
        (
            *(0.05, None, None),
            "5.00 points above the default's, but 2 replicates are too few for a win",
        ),
        (-0.05, None, None, "5.00 points below the default's"),
    ],
)
def test_the_verdict_explains_why_there_were_few_replicates(
    difference: float, needed: float | None, out_of_reach_of: int | None, words: str
) -> None:
    changes = {"difference": difference, "needed": needed, "draws": 2, "replaces_default": False}
    found = comparison(**changes)
    verdict = verdict_on(found, default_stays=True, out_of_reach_of=out_of_reach_of)
    assert verdict == (
        f"the default stays: the best challenger's mean over the replicates is {words}"
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
            "no significant difference (one-sided p = 0.07)",
        ),
        ({"distinguishable": False, "probability_of_lead": None}, "no significant difference"),
    ],
)
def test_a_lead_is_significant_or_not_and_has_its_p_value_where_it_is_known(
    changes: dict[str, Any], expected: str
) -> None:
    assert describe_significance(comparison(**changes)) == expected


def test_before_the_decision_there_is_no_verdict_but_the_difference_so_far() -> None:
    assert verdict_on(None, is_decided=False) == (
        "not decided yet: no challenger shares two replicates with the default"
    )
    assert verdict_on(comparison(needed=None), is_decided=False) == (
        "not decided yet: after 3 replicates the best challenger's mean is 9.12 points above the"
        " default's"
    )


def test_a_winner_without_a_significant_lead_has_that_in_its_verdict() -> None:
    verdict = verdict_on(comparison(distinguishable=False, probability_of_lead=0.93))
    assert verdict.startswith("the winner replaces the default")
    assert verdict.endswith("no significant difference (one-sided p = 0.07)")


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
        "searched": {"integer": [8, 32]},
        "try_next": {"integer": [20, 44]},
    }
    assert lines_on(best={**record()["best"], "at_edge": [edge]})[-1] == (
        f"the winner's batch_size {value} is {position} the searched range (integer [8, 32]):"
        " better values may lie beyond it; search integer [20, 44] next"
    )
