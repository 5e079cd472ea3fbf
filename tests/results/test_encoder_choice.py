"""When a cheaper encoder is recommended, and what an evaluation of it states."""

from pathlib import Path
from typing import Any

import pytest

from results.encoder_choice import (
    as_evaluated,
    describe_choice,
    find_encoder,
    recommended_encoder,
    with_encoder,
)
from results.recommendation import recommend
from results.report.markup import Titled
from results.run import Run
from results.status_text import next_step
from results.trial_states import SearchStatus
from tests.results.verdicts import record as plain_record
from tests.results.verdicts import report

BIG, SMALL = "org/big", "/models/<b>small"
RUN = Run(Path("/runs/first"))


def encoder(name: str, seconds: float | None, trial_id: str, **changes: Any) -> dict[str, Any]:
    best = {
        "trial_id": trial_id,
        "parameters": {"model": name, "learning_rate": 1e-4},
        **{"search_score": 0.7, "score": 0.69, "standard_error": 0.01, "replicates": 3},
        **{"collapsed_or_diverged": 0, "fixed_rows_loss": [0.2], "search_epochs": 1.0},
    }
    known = {"name": name, "parameters": 110_000_000, "bytes": 440_000_000, "trials": 7}
    return {
        **known,
        **{"tokens_per_word": 1.5, "seconds_per_row": seconds, "best": best},
        **{"lead_of_winner": None, **changes},
    }


def lead(difference: float, *, distinguishable: bool = False, replicates: int = 3) -> Any:
    return {
        "difference": difference,
        "distinguishable": distinguishable,
        "replicates": replicates,
        "standard_error": 0.01,
    }


def record(*encoders: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found = encoders or (
        encoder(BIG, 0.03, "t0001"),
        encoder(SMALL, 0.01, "t0002", lead_of_winner=lead(0.003)),
    )
    space = {"model": {"choice": [one["name"] for one in found]}}
    base = plain_record()
    best = {**base["best"], **found[0]["best"], "at_edge": []}
    return {
        **base,
        **{"best": best, "encoders": list(found)},
        "search": {**(base.get("search") or {}), "space": space},
        **changes,
    }


def test_an_encoder_of_less_than_half_the_cost_is_recommended_without_a_significant_lead() -> None:
    found = recommended_encoder(record())
    assert found is not None
    assert str(found) == (
        "the winner's encoder, big, takes 3.0 times as long for a row as <b>small, and its lead"
        " over that one's best candidate, t0002 (+0.3 points of macro-F1 on 3 shared replicates),"
        " is not significant"
    )


@pytest.mark.parametrize(
    "other",
    [
        encoder(SMALL, 0.01, "t0002", lead_of_winner=lead(0.03, distinguishable=True)),
        encoder(SMALL, 0.016, "t0002", lead_of_winner=lead(0.003)),
        encoder(SMALL, None, "t0002", lead_of_winner=lead(0.003)),
        encoder(SMALL, 0.01, "t0002"),
        encoder(SMALL, 0.01, "t0002", best=None),
    ],
    ids=["significant", "not half the cost", "cost unknown", "not compared", "no candidate"],
)
def test_no_encoder_is_recommended_otherwise(other: dict[str, Any]) -> None:
    assert recommended_encoder(record(encoder(BIG, 0.03, "t0001"), other)) is None


def test_no_encoder_is_recommended_before_the_end_or_for_an_older_run() -> None:
    assert recommended_encoder(record(status=SearchStatus.RUNNING)) is None
    assert recommended_encoder(plain_record()) is None


def test_of_two_the_cheapest_is_recommended() -> None:
    third = encoder("org/third", 0.002, "t0003", lead_of_winner=lead(0.004))
    found = recommended_encoder(record(*record()["encoders"], third))
    assert found is not None
    assert found.name == "org/third"


def test_verdict_and_next_step_recommend_it_with_the_command() -> None:
    found = recommend(RUN, record(), None)
    assert "A cheaper encoder is recommended, <b>small: the winner's encoder" in found.notes[0]
    first, second, *_ = found.next_steps
    command = "python -m evaluation.final --run /runs/first"
    assert (first.command, second.command) == (f"{command} --encoder '<b>small'", command)
    assert next_step(RUN, record(), is_alive=False) == first.command
    assert found.as_record()["notes"] == list(found.notes)


def test_an_evaluation_states_that_another_candidate_than_the_winner_was_chosen() -> None:
    whole = record()
    choice = describe_choice(whole, SMALL)
    assert choice is not None
    assert choice["is_recommended"]
    assert choice["reason"].startswith(
        "the best candidate of <b>small, t0002, was evaluated instead of the search's winner, t0001"
        " of big: the winner's encoder, big, takes 3.0 times"
    )
    test = report(encoder=choice)
    assert as_evaluated(whole, test)["best"]["trial_id"] == "t0002"
    assert as_evaluated(whole, None) == whole
    assert recommend(RUN, whole, test).notes[0].startswith("The best candidate of <b>small")
    assert describe_choice(whole, BIG) is None
    assert with_encoder(whole, BIG) == whole


def test_a_choice_that_is_not_recommended_was_asked_for() -> None:
    other = encoder(SMALL, 0.01, "t0002", lead_of_winner=lead(0.03, distinguishable=True))
    choice = describe_choice(record(encoder(BIG, 0.03, "t0001"), other), SMALL)
    assert choice is not None
    assert choice["reason"].endswith(": it was asked for by --encoder")


def test_an_encoder_is_found_by_the_end_of_its_name() -> None:
    assert find_encoder(record(), "big") == BIG
    assert find_encoder(record(), SMALL) == SMALL
    with pytest.raises(ValueError, match=r"'bi', but must be an encoder.* big, <b>small"):
        find_encoder(record(), "bi")


def test_an_encoder_without_a_confirmed_candidate_is_refused() -> None:
    best = encoder(SMALL, 0.01, "t0002")["best"] | {"score": None, "replicates": 0}
    unconfirmed = record(encoder(BIG, 0.03, "t0001"), encoder(SMALL, 0.01, "t0002", best=best))
    with pytest.raises(ValueError, match=r"no confirmed candidate.* choose from org/big"):
        find_encoder({**unconfirmed, "confirmation": {"candidates": []}}, SMALL)
    assert find_encoder({**unconfirmed, "confirmation": None}, SMALL) == SMALL


def test_a_run_of_one_encoder_has_its_own_name_alone() -> None:
    one = {**plain_record(), "environment": {"model": {"name": "org/bert"}}}
    assert find_encoder(one, "bert") == "org/bert"
    with pytest.raises(ValueError, match="choose from org/bert"):
        find_encoder(one, "tiny")


def test_a_shortened_cell_is_its_short_text() -> None:
    assert str(Titled("small", "/models/small")) == "small"
