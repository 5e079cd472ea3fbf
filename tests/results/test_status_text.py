from pathlib import Path
from typing import Any

import pytest

from results.older_runs import OBJECTIVE
from results.run import Run
from results.status_text import next_step
from results.verdict import confirmation_verdict, describe_result


def _record(**changes):
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


def _comparison(**changes: Any) -> dict[str, Any]:
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


def _verdict(comparison, **changes):
    standing = {
        "default_stays": False,
        "has_challengers": True,
        "default_learnt": True,
        "default_broken": 0,
        "leader_broken": 0,
    }
    verdict = confirmation_verdict(comparison, **(standing | changes))
    assert "\n" not in verdict
    return verdict


def _confirmation(comparison):
    return {
        "winner_beats_default": comparison,
        "verdict": _verdict(comparison),
        "smallest_detectable_difference": comparison and 0.0345,
        "score_correlation": 0.62,
    }


def _lines(**changes):
    lines = list(describe_result(_record(**changes)))
    assert all("\n" not in line for line in lines)
    return lines


def test_it_counts_the_trials_and_names_the_winner_beside_the_default():
    counts, winner, _ = _lines()
    assert counts == "trials: 3 completed, 8 stopped early, 1 failed, in 61 s"
    assert winner == (
        "winner t0003 (learning_rate 0.0003123, batch_size 16): validation macro-F1 0.7123 in the"
        " search; the default 0.6000"
    )


def test_without_confirmation_the_score_is_called_too_high():
    assert _lines()[-1].startswith("not confirmed: the winner's score is the best of many")


def test_with_confirmation_the_lead_has_its_error_and_a_plain_verdict():
    scores, verdict, resolution = _lines(confirmation=_confirmation(_comparison()))[2:]
    assert scores == (
        "confirmed on 3 fresh draws (selected on these): default 0.6100, best challenger 0.7012:"
        " +9.12 points, standard error 1.23"
    )
    assert verdict == (
        "the winner beats the default: on fresh draws it leads by 9.12 points, and a lead above"
        " 1.85 points replaces it; the two are distinguishable (the lead is real with probability"
        " 0.998)"
    )
    assert "four times in five what differs by 3.45 points" in resolution
    assert resolution.endswith("correlate by 0.62 between configurations")


def test_a_record_of_an_older_version_is_described_by_what_it_has():
    best = {key: value for key, value in _record()["best"].items() if key != "at_edge"}
    older = {"replicates": [{}, {}, {}], "winner_beats_default": {"difference": 0.1}}
    assert len(_lines(best=best, confirmation=older)) == 2


def test_draws_that_are_too_few_are_said_to_be():
    confirmation = {**_confirmation(_comparison()), "smallest_detectable_difference": 1.41}
    *_, resolution = _lines(confirmation={**confirmation, "score_correlation": None})
    assert resolution == "these draws are too few to tell any difference apart"


def test_a_clear_lead_that_may_still_be_luck_is_said_to_be():
    verdict = _verdict(_comparison(distinguishable=False, probability_of_lead=0.93))
    assert (
        "the two are not yet distinguishable (the lead is real with probability 0.930)" in verdict
    )


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (0.01, "leads by 1.00 points, but only a lead above 1.85 points replaces it"),
        (-0.01, "is 1.00 points behind"),
        (-1e-12, "is level with the default"),
    ],
)
def test_a_default_that_stays_is_said_to_stay_and_why(difference, words):
    verdict = _verdict(_comparison(difference=difference, replaces_default=False))
    assert verdict == (
        "the search found nothing better than the default, which stays: on fresh draws the best"
        f" challenger {words}"
    )


@pytest.mark.parametrize(
    ("comparison", "standing", "words"),
    [
        (None, {}, "not confirmed: too few fresh draws ended for a comparison with the default"),
        (None, {"has_challengers": False}, "not confirmed: no configuration but the default"),
        (None, {"default_learnt": False}, "replaces the default, which learnt on none of the"),
        (
            *(_comparison(), {"default_broken": 1}),
            "collapsed or diverged on 1 of the fresh draws; where both learnt the challenger leads"
            " by 9.12 points",
        ),
        (None, {"default_broken": 2}, "the two share too few others to be compared"),
        (
            *(_comparison(), {"leader_broken": 1, "default_stays": True}),
            "the default stays: the best challenger collapsed or diverged on 1 of the fresh draws",
        ),
    ],
)
def test_what_kept_two_from_being_compared_is_said(comparison, standing, words):
    assert words in _verdict(comparison, **standing)


def test_a_default_without_a_score_has_none():
    assert _lines(default=_record()["default"] | {"search_score": None})[1].endswith("none")


@pytest.mark.parametrize(
    ("value", "inside", "place"),
    [(32, True, "at the high end of"), (64, False, "outside (high)")],
)
def test_a_winner_at_the_edge_of_the_space_is_told_with_the_range_to_try_next(value, inside, place):
    edge = {
        "parameter": "batch_size",
        "value": value,
        "bound": "high",
        "inside": inside,
        "searched": {"choice": [8, 16, 32]},
        "try_next": {"choice": [8, 16, 32, 64]},
    }
    assert _lines(best={**_record()["best"], "at_edge": [edge]})[-1] == (
        f"batch_size {value} is {place} what was searched (choice [8, 16, 32]): better values may"
        " lie beyond; try choice [8, 16, 32, 64] next"
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "my runs" / "first")


def step(run: Run, status: str, *, lives: bool = False, uri: str | None = None) -> str:
    return next_step(run, {"status": status}, lives=lives, uri=uri)


def test_a_search_that_runs_is_followed(run: Run) -> None:
    command = f"python -m tuning.status --run '{run.directory}' --follow"
    assert step(run, "running", lives=True) == command


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_a_search_that_was_broken_off_goes_on(run: Run, status: str) -> None:
    where = f"--name first --output.directory '{run.directory.parent}'"
    assert step(run, status) == f"python -m tuning.search --resume {where}"


def test_an_aborted_search_is_mended_and_repeated_under_another_name(run: Run) -> None:
    told = step(run, "aborted")
    assert str(run.log) in told
    assert told.endswith(f"python -m tuning.search --config '{run.config}' --name NAME")


def test_a_completed_search_is_tested_and_a_tested_model_predicts(run: Run) -> None:
    assert step(run, "completed") == f"python -m evaluation.final --run '{run.directory}'"
    report = run.directory / "final" / "reports" / "evaluation_report.json"
    report.parent.mkdir(parents=True)
    report.write_text("{}")
    model = run.directory / "final" / "model"
    assert step(run, "completed") == (
        f"python -m evaluation.predict --model '{model}' --input FILE --output -"
    )


def test_a_run_at_a_uri_goes_on_there(run: Run) -> None:
    uri = "s3://bucket/first"
    assert step(run, "interrupted", uri=uri) == f"python -m tuning.search --resume {uri}"
    assert step(run, "completed", uri=uri) == f"python -m evaluation.final --run {uri}"
