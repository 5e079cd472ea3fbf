"""Curves of real fine-tuning runs that a study recorded, fed to the policy as one search."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.tuning.builders import configuration, evaluation
from training.schedule import schedule_of
from tuning.config import Configuration
from tuning.policy import Policy
from tuning.rungs import is_judged_at, is_promoted, plan_evaluations
from tuning.searchers import FixedSearcher
from tuning.space import Parameters
from tuning.trials import Trial

CURVES = Path(__file__).parents[2] / ".." / "shared" / "data" / "study-curves.csv"
pytestmark = pytest.mark.skipif(not CURVES.exists(), reason="the study's curves are not here")

BATCH_SIZE = 16
NUM_ROWS = 1044 * BATCH_SIZE  # the study's 1,044 steps an epoch
FIRST_RUNG = NUM_ROWS // 2  # step 522: the first evaluation there is that of step 600

# Steps of warm-up, from the slopes of each run's recorded learning rate; 199 stands for those
# whose rate is falling already at their first evaluation, step 200.
WARMUP = {
    "trial_13": 199,
    "trial_14": 368,
    "trial_15": 199,
    "trial_16": 347,
    "trial_17": 239,
    "trial_18": 199,
    "trial_19": 345,
    "trial_20": 421,
    "trial_21": 463,
}


class Recorded(FixedSearcher):
    """Suggests the warm-ups of recorded runs, in a given order."""

    def __init__(self, config: Configuration, warmups: Sequence[int]) -> None:
        super().__init__(config)
        self._warmups = warmups

    def suggest(self, trial_id: str, number: int) -> Parameters:
        return {"warmup_steps": self._warmups[number - 1]}


def curve_of(run: str) -> pd.DataFrame:
    table = pd.read_csv(CURVES)
    return table[table["run"] == run].sort_values("step")


def replay(
    runs: Sequence[str], *, warmups: dict[str, int] = WARMUP, together: bool = True, **search: Any
) -> tuple[Policy, dict[str, Trial]]:
    """Run recorded curves as trials beside a default without evaluations.

    Args:
        runs: names, in the order in which the trials start.
        warmups: steps of warm-up of each.
        together: all at once, in the order of their training rows; else one after the other.
        **search: fields of the search.

    Returns:
        The policy, and each run's trial.
    """
    config = configuration(
        training={"batch_size": BATCH_SIZE, "epochs": 3},
        search={
            "space": {"warmup_steps": {"integer": ["0", "500"]}},
            "trials": len(runs) + 1,
            **search,
        },
    )
    policy = Policy(
        configuration=config,
        plan=plan_evaluations(NUM_ROWS, 3, config.search, batch_size=BATCH_SIZE),
        num_rows=NUM_ROWS,
        validation_share=1 / 9,
        constant_score=0.16304,
        searcher=Recorded(config, [warmups[run] for run in runs]),
    )
    started = [policy.next() for _ in range(len(runs) + 1)]
    trials = {
        run: trial for run, trial in zip(runs, started[1:], strict=True) if isinstance(trial, Trial)
    }
    evaluations = [
        (row.epoch, number, run, row.f1_macro)
        for number, run in enumerate(runs)
        for row in curve_of(run).itertuples()
        if row.epoch <= 3
    ]
    for epoch, _, run, score in sorted(evaluations) if together else evaluations:
        trial = trials[run]
        if trial.status == "running":
            policy.report(trial.trial_id, evaluation(round(epoch * NUM_ROWS), score))
    return policy, trials


def stopped_at(trials: dict[str, Trial]) -> dict[str, float]:
    """Epochs at which the scheduler stopped trials."""
    return {
        run: round(trial.evaluations[-1].examples / NUM_ROWS, 2)
        for run, trial in trials.items()
        if trial.stopped_by == "scheduler"
    }


def test_the_best_run_which_sat_at_the_constant_score_until_step_600_is_not_stopped() -> None:
    _, trials = replay(list(WARMUP))
    assert curve_of("trial_13")["f1_macro"].iloc[2] == 0.16304
    # It ends with the search, at the last rung of 1.5 epochs: the best are trained afresh.
    assert trials["trial_13"].stopped_by == "confirmation"
    assert trials["trial_13"].curve[-1] == pytest.approx((1.53 * NUM_ROWS, 0.385), rel=0.01)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("first", list(WARMUP))
def test_whoever_comes_first_none_of_the_nine_is_stopped_since_the_judged_ones_are_equal(
    first: str, together: bool
) -> None:
    order = [first, *(run for run in WARMUP if run != first)]
    _, trials = replay(order, together=together)
    assert stopped_at(trials) == {}


@pytest.mark.parametrize("first", list(WARMUP))
def test_the_median_too_leaves_the_best_run_alone_and_stops_nobody_at_the_first_rung(
    first: str,
) -> None:
    order = [first, *(run for run in WARMUP if run != first)]
    _, trials = replay(order, together=False, scheduler="median")
    assert "trial_13" not in stopped_at(trials)
    assert all(epoch > 0.75 for epoch in stopped_at(trials).values())


def test_a_run_is_judged_at_the_first_rung_only_if_its_warmup_ended_before_two_thirds_of_it() -> (
    None
):
    policy, trials = replay(list(WARMUP))
    judged = {
        run
        for run, trial in trials.items()
        if is_judged_at(FIRST_RUNG, trial.training, schedule_of(trial.training, NUM_ROWS))
    }
    assert policy.plan.rungs[0] == FIRST_RUNG
    assert set(WARMUP) - judged == {"trial_14", "trial_20", "trial_21"}


def test_without_the_warmup_rule_a_lucky_run_would_have_ended_the_best_one_at_its_first_rung() -> (
    None
):
    # trial_20's 0.1673 at step 600, in its warm-up's wake, is above the constant 0.16304.
    order = ["trial_20", "trial_13"]
    _, unjudged = replay(order, decision_rule=1)
    assert stopped_at(unjudged) == {}
    _, judged = replay(order, warmups={**WARMUP, "trial_20": 0}, decision_rule=1)
    assert stopped_at(judged) == {"trial_13": 0.57}  # step 600
    _, spared = replay(order, warmups={**WARMUP, "trial_20": 0})
    assert stopped_at(spared) == {}  # nobody has left the constant predictor


@pytest.mark.parametrize("first", [run for run in WARMUP if run != "trial_13"])
def test_nor_would_it_be_if_trials_were_judged_in_their_warmup_since_nobody_has_learnt(
    first: str,
) -> None:
    at_the_rung = {
        run: float(curve_of(run)["f1_macro"].iloc[1:3].mean()) for run in (first, "trial_13")
    }
    own, constant = at_the_rung["trial_13"], float(curve_of("trial_13")["f1_macro"].iloc[0])
    scores, search = list(at_the_rung.values()), configuration().search
    older = search.model_copy(update={"decision_rule": 1})
    assert is_promoted(own, scores, search, constant_score=constant)
    assert is_promoted(own, scores, older, constant_score=constant) is (first != "trial_20")


def test_four_encoders_and_two_trials_are_stopped_at_rungs_as_calculated() -> None:
    # At the rung of 0.5 epochs, in order of arrival: trial_13 and trial_15 0.163, IndoBERT 0.245,
    # mBERT 0.395, IndoRoBERTa 0.350 (second of five, of which one would be promoted, but two of the
    # four others have not left the constant predictor), XLM-R 0.307 (third of six, of which two
    # are). The older rule stops IndoRoBERTa, too.
    others = ["bert-base-multilingual", "indoroberta", "xlm-roberta-base", "indobert-base-uncased"]
    runs = [*others, "trial_15", "trial_13"]
    _, trials = replay(runs, warmups={**dict.fromkeys(others, 0), **WARMUP})
    assert stopped_at(trials) == {"xlm-roberta-base": 0.73}
    warmups = {**dict.fromkeys(others, 0), **WARMUP}
    _, trials = replay(runs, warmups=warmups, decision_rule=1)
    assert stopped_at(trials) == {"indoroberta": 0.73, "xlm-roberta-base": 0.73}


@pytest.mark.parametrize("pair", list(itertools.permutations(["trial_15", "trial_18"])))
def test_equal_scores_are_promoted_in_either_order(pair: tuple[str, str]) -> None:
    _, trials = replay(pair, together=False)
    assert stopped_at(trials) == {}


def test_a_run_that_sits_still_is_stopped_at_the_rung_that_one_which_learns_has_passed() -> None:
    runs = ["bert-base-multilingual", "trial_15"]
    warmups = {"bert-base-multilingual": 0, **WARMUP}
    _, trials = replay(runs, warmups=warmups, together=False)
    assert stopped_at(trials) == {"trial_15": 0.57}
    _, trials = replay(runs, warmups=warmups, together=False, scheduler="none")
    assert stopped_at(trials) == {}
