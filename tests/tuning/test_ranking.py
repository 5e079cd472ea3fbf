"""Which trials of a search rank first, and which configurations are confirmed."""

from typing import Any

import pytest

from tests.tuning.builders import (
    NUM_ROWS,
    at_last_rung,
    completed,
    configuration,
    evaluation,
    trial,
)
from tuning.ranking import Ranking
from tuning.rungs import RungScores, plan_evaluations
from tuning.trials import Trial

DEFAULT = {"learning_rate": 1e-3}
A, B = {"learning_rate": 2e-3}, {"learning_rate": 3e-3}
LATE = configuration(training={"warmup_steps": 70})
"""Its warm-up takes 1,120 rows, more than two thirds of the last rung at 1,500."""


def ranking(**search: Any) -> Ranking:
    """Rungs are at 500 and 1,500 rows, the budget is 3,000."""
    config = configuration(search=search)
    plan = plan_evaluations(NUM_ROWS, 3, config.search, batch_size=1)
    return Ranking(rung_scores=RungScores(plan=plan, num_rows=NUM_ROWS))


def at_first_rung(number: int, score: float, **changes: Any) -> Trial:
    stopped: dict[str, Any] = {"status": "stopped", "stopped_by": "scheduler"}
    return trial(number, (250, score), (500, score), **(stopped | changes))


def ids(trials: list[Trial]) -> list[str]:
    return [one.trial_id for one in trials]


def test_trials_at_the_last_rung_rank_before_those_at_a_lower_one_whatever_their_scores() -> None:
    trials = [
        at_last_rung(0, 0.5),
        at_first_rung(1, 0.9),
        at_last_rung(2, 0.7),
        at_first_rung(3, 0.8),
        at_first_rung(4, 0.95),
    ]
    assert ids(ranking().ranked(trials)) == ["t0002", "t0000", "t0004", "t0001", "t0003"]


def test_the_score_of_a_trial_is_the_mean_of_its_last_two_evaluations_up_to_the_rung() -> None:
    curve = (250, 0.1), (500, 0.9), (750, 0.2), (1000, 0.3), (1250, 0.4), (1500, 0.6)
    found = ranking().search_score(trial(1, *curve, status="stopped", stopped_by="confirmation"))
    assert found is not None
    assert (found.level, found.score, found.epoch) == (2, pytest.approx(0.5), 1.5)
    early = ranking().search_score(trial(1, *curve[:3], status="stopped"))
    assert early is not None
    assert (early.level, early.score, early.epoch) == (1, pytest.approx(0.5), 0.5)


def test_a_trial_that_reached_no_rung_has_no_score() -> None:
    assert ranking().search_score(trial(1, (250, 0.9), status="stopped")) is None
    assert ranking().ranked([trial(1, (250, 0.9), status="stopped")]) == []


def test_a_trial_that_trained_on_after_a_late_warmup_ranks_with_those_at_the_last_rung() -> None:
    late = trial(
        *(1, (500, 0.2), (1500, 0.3), (3000, 0.6)), status="completed", training=LATE.training
    )
    trials = [at_last_rung(0, 0.5), late, at_last_rung(2, 0.7)]
    assert ids(ranking().ranked(trials)) == ["t0002", "t0001", "t0000"]
    found = ranking().search_score(late)
    assert found is not None
    assert (found.score, found.epoch) == (0.6, 3.0)


def test_a_late_trial_that_the_time_ended_in_its_warmup_has_no_score() -> None:
    cut = trial(1, (500, 0.2), (1500, 0.9), (1750, 0.9), training=LATE.training, status="stopped")
    assert ranking().search_score(cut) is None


def test_a_trial_that_lost_patience_ranks_at_the_last_rung_with_its_last_scores() -> None:
    curve = (250, 0.3), (500, 0.7), (750, 0.7)
    patient = trial(1, *curve, status="stopped", stopped_by="patience")
    assert ids(ranking().ranked([at_last_rung(0, 0.6), patient])) == ["t0001", "t0000"]


@pytest.mark.parametrize("status", ["failed", "diverged", "running"])
def test_trials_that_failed_diverged_or_still_run_are_not_ranked(status: str) -> None:
    gone = trial(1, (250, 0.9), (500, 0.9), status=status)
    assert ranking().ranked([gone]) == []


def test_a_trial_that_collapsed_at_the_full_budget_is_not_ranked() -> None:
    collapsed = trial(1, (250, 0.4), status="collapsed")
    collapsed.add(evaluation(3000, 0.16, collapsed=True))
    assert ranking().ranked([collapsed]) == []


def test_a_trial_that_predicts_one_class_at_a_rung_ranks_last_since_it_may_still_learn() -> None:
    collapsed = trial(1, (1250, 0.9), status="stopped")
    collapsed.add(evaluation(1500, 0.9, collapsed=True))
    behind = trial(2, (500, 0.2), status="stopped")
    assert ids(ranking().ranked([collapsed, behind])) == ["t0002", "t0001"]


def test_of_equal_scores_the_older_trial_comes_first() -> None:
    trials = [at_last_rung(number, 0.5) for number in (10_000, 9_999, 3)]
    assert ids(ranking().ranked(trials)) == ["t0003", "t9999", "t10000"]


@pytest.mark.parametrize(
    "search", [{"scheduler": "none"}, {"confirm_replicates": 0}, {"decision_rule": 1}]
)
def test_where_trials_run_the_full_budget_only_those_that_reached_it_are_ranked(
    search: dict[str, Any],
) -> None:
    trials = [completed(0, 0.5), at_last_rung(1, 0.9, stopped_by="scheduler"), completed(2, 0.7)]
    assert ids(ranking(**search).ranked(trials)) == ["t0002", "t0000"]


def test_a_peak_before_the_end_does_not_rank() -> None:
    peaked = trial(1, (500, 0.9), (1250, 0.4), (1500, 0.4), status="stopped")
    assert ids(ranking().ranked([peaked, at_last_rung(0, 0.5)])) == ["t0000", "t0001"]


def test_the_default_is_confirmed_whatever_its_score() -> None:
    trials = [
        trial(0, status="failed", parameters=DEFAULT),
        at_last_rung(1, 0.6, parameters=A),
        at_last_rung(2, 0.7, parameters=B),
    ]
    assert ranking().candidates(trials, 1) == [DEFAULT, B]
    assert ranking().candidates(trials, 5) == [DEFAULT, B, A]


def test_finalists_come_from_a_lower_rung_where_few_reached_the_last() -> None:
    trials = [
        at_last_rung(0, 0.5, parameters=DEFAULT),
        at_last_rung(1, 0.4, parameters=A),
        at_first_rung(2, 0.7, parameters=B),
        at_first_rung(3, 0.6, parameters={"learning_rate": 4e-3}),
    ]
    assert ranking().candidates(trials, 2) == [DEFAULT, A, B]


def test_a_configuration_sampled_twice_is_confirmed_once() -> None:
    trials = [
        at_last_rung(0, 0.5, parameters=DEFAULT),
        *(at_last_rung(number, 0.7, parameters=A) for number in (1, 2)),
        at_last_rung(3, 0.6, parameters=B),
        at_last_rung(4, 0.9, parameters=dict(DEFAULT)),
    ]
    assert ranking().candidates(trials, 2) == [DEFAULT, A, B]
