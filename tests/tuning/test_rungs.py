import pytest

from benchmarks.problems import Problem, recorded_problem
from benchmarks.recorded import DATA, read_grid
from results.rung_scores import score_at
from tests.tuning.builders import configuration
from training.objective import CLEARLY_ABOVE
from training.schedule import schedule_of
from tuning.config import SearchConfig
from tuning.rungs import (
    LEAST_STEPS,
    EvaluationPlan,
    expected_rows_of_search,
    is_judged_at,
    is_promoted,
    plan_evaluations,
    plan_of,
)
from tuning.space import with_parameters

PLAN = EvaluationPlan(budget=3000, points=(500, 1000, 1500, 2000, 3000), rungs=(1000, 2000))

CONSTANT = 0.18
"""Score of the best constant predictor: trials with more than 0.23 have left it."""
LEFT = -1.0
"""One that all trials have left."""


def search(**changes: object) -> SearchConfig:
    return configuration(search=changes).search


def small_batches(num_rows: int, epochs: int, **changes: object) -> EvaluationPlan:
    """Return the plan of batches so small that the least number of steps leaves no rung out."""
    return plan_evaluations(num_rows, epochs, search(**changes), batch_size=1)


def test_rungs_are_the_grace_times_powers_of_the_factor_below_the_budget() -> None:
    plan = small_batches(1000, 10, grace_epochs=0.5, reduction_factor=3)
    assert plan.rungs == (500, 1500, 4500)
    assert plan.budget == 10_000


def test_a_rung_never_lies_at_the_budget() -> None:
    assert small_batches(900, 3, grace_epochs=1).rungs == (900,)


def test_evaluations_are_due_evenly_at_every_rung_and_at_the_budget() -> None:
    plan = small_batches(1000, 2, grace_epochs=0.3, evaluations_per_epoch=4)
    assert plan.points == (250, 300, 500, 750, 900, 1000, 1250, 1500, 1750, 2000)
    assert plan.rungs == (300, 900)


def test_the_median_judges_at_every_evaluation_from_the_grace_on() -> None:
    plan = small_batches(1000, 2, scheduler="median", evaluations_per_epoch=2)
    assert plan.rungs == (500, 1000, 1500)


def test_without_a_scheduler_there_are_no_rungs() -> None:
    plan = small_batches(1000, 2, scheduler="none", evaluations_per_epoch=1)
    assert (plan.rungs, plan.points) == ((), (1000, 2000))


def test_more_evaluations_than_rows_do_not_repeat_a_point() -> None:
    plan = small_batches(3, 1, evaluations_per_epoch=10, grace_epochs=0.5)
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
    found = is_promoted(score, [*others, score], search(reduction_factor=3), constant_score=LEFT)
    assert found is promoted


@pytest.mark.parametrize("scheduler", ["asha", "median"])
@pytest.mark.parametrize("num_equal", [2, 3, 9, 10])
def test_equal_scores_are_all_promoted_whoever_came_first(scheduler: str, num_equal: int) -> None:
    assert is_promoted(0.163, [0.163] * num_equal, search(scheduler=scheduler), constant_score=LEFT)


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
    median = search(scheduler="median")
    assert is_promoted(score, [*others, score], median, constant_score=LEFT) is promoted


@pytest.mark.parametrize(
    ("score", "others", "promoted"),
    [
        (0.16, [], True),
        (0.16, [0.17], True),  # nobody has left the constant predictor
        (0.16, [0.30], False),
        (0.16, [0.30, 0.17], True),  # half of the others have left it: not most
        (0.16, [0.30, 0.31, 0.17], False),
        (0.16, [0.30, 0.31, 0.17, 0.18], True),
        (0.16, [0.229], True),  # up to 0.05 above the constant predictor is not clearly above it
        (0.24, [0.50, 0.22], True),  # who has left it is not stopped sooner than who has not
        (0.24, [0.50, 0.60, 0.17], False),
    ],
)
def test_a_rung_stops_nobody_until_most_of_the_others_have_left_the_constant_predictor(
    score: float, others: list[float], promoted: bool
) -> None:
    found = is_promoted(score, [*others, score], search(), constant_score=CONSTANT)
    assert found is promoted


@pytest.mark.parametrize("others", [[0.5], [0.5, 0.17], [0.3, 0.5, 0.17], [0.3, 0.4, 0.5, 0.1]])
def test_a_better_score_is_never_stopped_where_a_worse_one_would_be_promoted(
    others: list[float],
) -> None:
    promoted = [
        is_promoted(score, [*others, score], search(), constant_score=CONSTANT)
        for score in (0.05, 0.16, 0.24, 0.3, 0.4, 0.6)
    ]
    assert promoted == sorted(promoted)


def test_the_median_too_waits_until_most_have_left_the_constant_predictor() -> None:
    median = search(scheduler="median")
    assert is_promoted(0.16, [0.16, 0.17, 0.18, 0.30], median, constant_score=CONSTANT)
    assert not is_promoted(0.16, [0.16, 0.17, 0.30, 0.31], median, constant_score=CONSTANT)


def test_under_the_first_rules_a_trial_is_stopped_before_most_have_learnt() -> None:
    scores = [0.17, 0.18, 0.16]
    assert is_promoted(0.16, scores, search(), constant_score=CONSTANT)
    assert not is_promoted(0.16, scores, search(decision_rule=1), constant_score=CONSTANT)


def stopped_before_learning(problem: Problem, search: SearchConfig) -> set[int]:
    """Run challengers one after the other; return those stopped before they left the constant."""
    constant, stopped = problem.constant_score, set()
    scores: dict[int, list[float]] = {rung: [] for rung in problem.plan.rungs}
    for number, parameters in enumerate(problem.parameters[1:], start=1):
        training = with_parameters(problem.configuration.training, parameters)
        for rung in problem.plan.rungs:
            if not is_judged_at(rung, training, schedule_of(training, problem.num_rows)):
                continue
            score = problem.score_at(number, rung)
            scores[rung].append(score)
            if not is_promoted(score, scores[rung], search, constant_score=constant):
                if score <= constant + CLEARLY_ABOVE:
                    stopped.add(number)
                break
    return stopped


def test_on_recorded_trainings_few_of_the_three_best_are_stopped_before_they_learn() -> None:
    grid = read_grid(DATA / "replay-tweets-tiny.csv")
    problems = [recorded_problem(grid, 12, repeat=repeat) for repeat in range(200)]
    shares = [
        sum(
            number in stopped_before_learning(problem, search(decision_rule=rule))
            for problem in problems
            for number in sorted(range(1, 12), key=problem.truth)[-3:]
        )
        / (3 * len(problems))
        for rule in (1, 2)
    ]
    assert shares[0] > 0.05
    assert shares[1] < 0.025


def test_rungs_before_the_least_number_of_steps_are_left_out_and_the_others_stay() -> None:
    asked = search(grace_epochs=0.5, evaluations_per_epoch=1)
    plan = plan_evaluations(768, 6, asked, batch_size=32)
    assert LEAST_STEPS * 32 == 1600
    assert plan.rungs == (3456,)  # not 384 (12 steps) and 1,152 (36 steps)
    assert 384 not in plan.points
    assert plan_evaluations(768, 6, asked, batch_size=8).rungs == (1152, 3456)


def test_a_rung_at_the_least_number_of_steps_stays() -> None:
    assert plan_evaluations(1600, 2, search(grace_epochs=1), batch_size=32).rungs == (1600,)
    assert plan_evaluations(1599, 2, search(grace_epochs=1), batch_size=32).rungs == ()


def test_the_median_judges_from_the_least_number_of_steps_on() -> None:
    asked = search(scheduler="median", grace_epochs=0.5, evaluations_per_epoch=2)
    assert plan_evaluations(1000, 3, asked, batch_size=32).rungs == (2000, 2500)


def test_a_budget_below_the_least_number_of_steps_has_evaluations_but_no_rung() -> None:
    plan = plan_evaluations(200, 6, search(evaluations_per_epoch=1), batch_size=32)
    assert plan.rungs == ()
    assert plan.end == plan.budget == 1200
    assert plan.points == (200, 400, 600, 800, 1000, 1200)


def test_a_search_that_started_under_the_first_rules_keeps_its_rungs() -> None:
    plan = plan_evaluations(768, 6, search(decision_rule=1), batch_size=32)
    assert plan.rungs == (384, 1152, 3456)


def test_the_least_number_of_steps_is_of_the_largest_batch_that_a_trial_may_have() -> None:
    space = {"batch_size": {"choice": ["8", "64"]}}
    config = configuration(search={"space": space, "grace_epochs": 2})
    assert plan_of(config, 1600).rungs == (3200,)  # 50 steps of 64
    assert plan_of(config, 1599).rungs == ()


def test_without_a_scheduler_every_trial_is_expected_to_run_to_the_end() -> None:
    plan = small_batches(1000, 3, scheduler="none")
    assert expected_rows_of_search(plan, search(scheduler="none"), 5) == pytest.approx(15_000)


def test_asha_is_expected_to_spend_less_than_full_trainings_but_one() -> None:
    # Trial 0 runs 1.5 epochs, to the last rung; each other one 0.5, and a third of them 1.5.
    expected = 1000 * (1.5 + 5 * (0.5 + 1 / 3 * 1.0))
    assert expected_rows_of_search(small_batches(1000, 3), search(), 6) == pytest.approx(expected)


def test_under_the_first_rules_trials_are_expected_to_run_to_the_budget() -> None:
    # Trial 0 runs 3 epochs; each other one 0.5, a third of them 1.5 and a ninth 3.
    plan = small_batches(1000, 3, decision_rule=1)
    expected = 1000 * (3 + 5 * (0.5 + 1 / 3 * 1.0 + 1 / 9 * 1.5))
    assert expected_rows_of_search(plan, search(decision_rule=1), 6) == pytest.approx(expected)
