"""What the record holds about each encoder of a search."""

from typing import Any

import pytest

from tests.tuning.builders import at_last_rung, configuration, evaluation, policy, trial
from tests.tuning.deciding import Score, run_to_end
from tuning.encoder_record import describe_encoders
from tuning.paired_comparison import paired_difference
from tuning.policy import Policy
from tuning.space import Parameters

BIG, SMALL, THIRD = "org/big", "org/small", "org/third"
RATES = {"log_uniform": [1e-5, 1e-3]}
NOISE = (0.0, 0.01, -0.01, 0.005, -0.005, 0.01)


def of(model: str, rate: float = 1e-4) -> Parameters:
    return {"model": model, "learning_rate": rate}


def searched(*others: str, **search: Any) -> Policy:
    """A search over encoders whose trials have ended: the default, BIG, a trial of each other."""
    space = {"model": {"choice": [BIG, *others]}, "learning_rate": RATES}
    config = configuration(
        data={"path": "rows.csv"},
        model={"name": BIG},
        training={"learning_rate": 5e-5},
        search={"space": space, "trials": 2 + len(others), **search},
    )
    known: dict[str, Any] = {"config": config}
    trials = [at_last_rung(0, 0.5, parameters=of(BIG, 5e-5), **known)]
    trials += [
        at_last_rung(1 + n, 0.7 - n / 100, parameters=of(name), **known)
        for n, name in enumerate((BIG, *others))
    ]
    return policy(trials, config=config)


def confirmed(score: Score, *others: str, **search: Any) -> dict[str, dict[str, Any]]:
    whole = searched(*others, **search)
    run_to_end(whole, score)
    return {one["name"]: one for one in describe_encoders(whole)}


def by_name(**quality: float) -> Score:
    def score(parameters: Parameters, replicate: int) -> float:
        name = str(parameters["model"]).removeprefix("org/")
        is_default = parameters["learning_rate"] == 5e-5
        sign = 1 if name == "big" else -1
        return 0.5 if is_default else quality[name] + sign * NOISE[replicate] / 2

    return score


def test_each_encoder_has_its_trials_its_speed_and_its_best_trial_before_a_confirmation() -> None:
    slow = [evaluation(1250, 0.65, seconds=25.0), evaluation(1500, 0.65, seconds=30.0)]
    whole = searched(SMALL)
    whole.store.add(
        trial(
            9, config=whole.configuration, parameters=of(SMALL, 2e-4), status="stopped",
            stopped_by="confirmation", evaluations=slow,
        )
    )  # fmt: skip
    big, small = describe_encoders(whole, [{"name": SMALL, "bytes": 12}])
    assert (big["name"], big["trials"], big["seconds_per_row"]) == (BIG, 2, 0.01)
    assert (small["trials"], small["seconds_per_row"], small["bytes"]) == (2, 0.015, 12)
    assert small["best"]["trial_id"] == "t0002"
    assert (small["best"]["score"], small["best"]["replicates"]) == (None, 0)
    assert small["best"]["search_score"] == pytest.approx(0.69)
    assert small["lead_of_winner"] is None


def test_the_winner_is_compared_with_the_best_of_another_encoder_on_shared_replicates() -> None:
    score = by_name(big=0.7, small=0.695, third=0.4)
    found = confirmed(score, SMALL, THIRD, confirm_top=3)
    assert found[BIG]["best"]["parameters"] == of(BIG)
    assert found[BIG]["lead_of_winner"] is None
    lead, best = found[SMALL]["lead_of_winner"], found[SMALL]["best"]
    assert best["replicates"] == lead["replicates"] == 2
    shared = [1, 2]
    expected = paired_difference(
        *([score(of(name), k) or 0 for k in shared] for name in (BIG, SMALL)),
        validation_share=0.25,
        required=None,
        others=[[0.5 - (score(of(SMALL), k) or 0) for k in shared]],
    )
    assert lead["difference"] == pytest.approx(expected.difference)
    assert lead["standard_error"] == pytest.approx(expected.standard_error)
    assert lead["distinguishable"] is False


def test_a_winner_far_ahead_of_another_encoder_leads_it_significantly() -> None:
    found = confirmed(by_name(big=0.7, small=0.55, third=0.4), SMALL, THIRD, confirm_top=3)
    assert found[SMALL]["lead_of_winner"]["distinguishable"] is True


def test_an_encoder_that_left_the_confirmation_after_one_replicate_is_not_compared() -> None:
    found = confirmed(by_name(big=0.7, small=0.65, third=0.6), SMALL, THIRD, confirm_top=3)
    assert found[THIRD]["best"]["replicates"] == 1
    assert found[THIRD]["lead_of_winner"] is None


def test_an_encoder_without_a_score_has_no_best_trial() -> None:
    whole = searched(SMALL)
    whole.store.keep_only(["t0000", "t0001"])
    _, small = describe_encoders(whole)
    assert (small["trials"], small["seconds_per_row"], small["best"]) == (0, None, None)


def test_a_search_of_one_encoder_describes_it() -> None:
    (found,) = describe_encoders(policy([at_last_rung(0, 0.6)]))
    assert (found["name"], found["trials"], found["best"]["trial_id"]) == ("tiny", 1, "t0000")
