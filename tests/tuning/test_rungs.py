import pytest

from results.rung_scores import score_at
from tests.tuning.builders import configuration
from training.schedule import schedule_of
from tuning.config import SearchConfig
from tuning.rungs import (
    EvaluationPlan,
    expected_epochs,
    is_judged_at,
    is_promoted,
    plan_evaluations,
)

PLAN = EvaluationPlan(budget=3000, points=(500, 1000, 1500, 2000, 3000), rungs=(1000, 2000))


def search(**changes: object) -> SearchConfig:
    return configuration(search=changes).search


def test_rungs_are_the_grace_times_powers_of_the_factor_below_the_budget() -> None:
    plan = plan_evaluations(1000, 10, search(grace_epochs=0.5, reduction_factor=3))
    assert plan.rungs == (500, 1500, 4500)
    assert plan.budget == 10_000


def test_a_rung_never_lies_at_the_budget() -> None:
    assert plan_evaluations(900, 3, search(grace_epochs=1)).rungs == (900,)


def test_evaluations_are_due_evenly_at_every_rung_and_at_the_budget() -> None:
    plan = plan_evaluations(1000, 2, search(grace_epochs=0.3, evaluations_per_epoch=4))
    assert plan.points == (250, 300, 500, 750, 900, 1000, 1250, 1500, 1750, 2000)
    assert plan.rungs == (300, 900)


def test_the_median_judges_at_every_evaluation_from_the_grace_on() -> None:
    plan = plan_evaluations(1000, 2, search(scheduler="median", evaluations_per_epoch=2))
    assert plan.rungs == (500, 1000, 1500)


def test_without_a_scheduler_there_are_no_rungs() -> None:
    plan = plan_evaluations(1000, 2, search(scheduler="none", evaluations_per_epoch=1))
    assert (plan.rungs, plan.points) == ((), (1000, 2000))


def test_more_evaluations_than_rows_do_not_repeat_a_point() -> None:
    plan = plan_evaluations(3, 1, search(evaluations_per_epoch=10, grace_epochs=0.5))
    assert plan.points == (1, 2, 3)


def test_a_score_at_a_rung_is_the_mean_of_the_last_two_evaluations_due_at_or_before_it() -> None:
    curve = [(512, 0.1), (1024, 0.3), (1504, 0.9)]
    assert score_at(curve, 1000, budget=PLAN.budget) == pytest.approx(0.2)


def test_the_only_evaluation_before_a_rung_is_its_score() -> None:
    assert score_at([(512, 0.1), (1024, 0.3)], 500, budget=PLAN.budget) == 0.1


def test_a_score_at_the_budget_is_the_last_evaluation_alone() -> None:
    assert score_at([(2016, 0.1), (3000, 0.5)], 3000, budget=PLAN.budget) == 0.5


def test_a_trial_has_no_score_at_a_rung_it_has_not_reached() -> None:
    assert score_at([(512, 0.1), (999, 0.2)], 1000, budget=PLAN.budget) is None
    assert score_at([], 1000, budget=PLAN.budget) is None


def test_an_evaluation_that_a_large_batch_carries_past_the_next_point_still_answers_the_rung() -> (
    None
):
    plan = EvaluationPlan(budget=3000, points=(1000, 1010, 3000), rungs=(1000,))
    assert score_at([(1024, 0.4)], 1000, budget=plan.budget) == 0.4


def test_a_step_that_spans_two_rungs_reaches_both() -> None:
    assert PLAN.rungs_between(512, 2048) == (1000, 2000)
    assert PLAN.rungs_between(1000, 1999) == ()
    assert PLAN.rungs_between(0, 1000) == (1000,)


@pytest.mark.parametrize(
    ("warmup_steps", "judged"), [(0, True), (41, True), (42, False), (62, False), (0.2, True)]
)
def test_a_trial_is_judged_only_if_its_warmup_ended_before_two_thirds_of_the_rung(
    warmup_steps: float, judged: bool
) -> None:
    # 42 steps of 16 rows are 672 rows, two thirds of the rung at 1,000 are 666.7.
    training = configuration(training={"warmup_steps": warmup_steps}).training
    assert is_judged_at(1000, training, schedule_of(training, 1000)) is judged


@pytest.mark.parametrize(
    ("score", "others", "promoted"),
    [
        (0.1, [], True),  # the first has nobody to be held against
        (0.1, [0.2], False),
        (0.3, [0.2], True),
        (0.2, [0.1, 0.3], False),  # one in three is promoted
        (0.3, [0.1, 0.2], True),
        (0.5, [0.1, 0.2, 0.3, 0.4, 0.6], True),  # two in six
        (0.4, [0.1, 0.2, 0.3, 0.5, 0.6], False),
    ],
)
def test_asha_keeps_the_best_one_in_the_factor(
    score: float, others: list[float], promoted: bool
) -> None:
    assert is_promoted(score, [*others, score], search(reduction_factor=3)) is promoted


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize("num_equal", [2, 3, 9, 10])
def test_equal_scores_are_all_promoted_whoever_came_first(scheduler: str, num_equal: int) -> None:
    assert is_promoted(0.163, [0.163] * num_equal, search(scheduler=scheduler))


@pytest.mark.parametrize(
    ("score", "others", "promoted"),
    [
        (0.1, [0.9], True),  # two are too few for a median
        (0.1, [0.8, 0.9], False),
        (0.8, [0.1, 0.9], True),
        (0.2, [0.1, 0.3, 0.4], False),
        (0.3, [0.1, 0.2, 0.4], True),
    ],
)
def test_the_median_keeps_the_upper_half(score: float, others: list[float], promoted: bool) -> None:
    assert is_promoted(score, [*others, score], search(scheduler="median")) is promoted


def test_without_a_scheduler_every_trial_is_expected_to_run_to_the_end() -> None:
    assert expected_epochs(3, search(scheduler="none"), 5) == pytest.approx(15)


def test_asha_is_expected_to_spend_less_than_full_trainings_but_one() -> None:
    # Trial 0 runs 3 epochs; each other one 0.5, a third of them 1.5 and a ninth 3.
    expected = 3 + 5 * (0.5 + 1 / 3 * 1.0 + 1 / 9 * 1.5)
    assert expected_epochs(3, search(), 6) == pytest.approx(expected)
