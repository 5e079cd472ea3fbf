from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.problems import CELLS, Problem, recorded_problem, simulated_problem
from benchmarks.recorded import DATA, read_grid
from benchmarks.rivals import (
    Plan,
    all_full_runs,
    default_alone,
    four_rates,
    one_rung,
    random_full_runs,
    rates,
    successive_halving,
)


def problem_of(num: int, *, late: int | None = None) -> Problem:
    """Return a problem in which a higher number is better, and `late` is the best at the end alone.

    Rungs are at a sixth and a half of the budget.
    """
    problem = simulated_problem(CELLS[0], num, repeat=0)
    scores = np.zeros_like(problem.scores)
    scores += np.arange(num)[:, None, None] / 100
    if late is not None:
        scores[late] = [0, 0, 0, 1]
    return replace(problem, scores=scores)


@pytest.mark.parametrize(
    ("rival", "num", "cost"),
    [
        (default_alone, 24, 0),
        (random_full_runs, 24, 8),
        (all_full_runs, 24, 24),
        (four_rates, 24, 4 / 6 + 2 / 3 + 1 / 2),
        (one_rung, 24, 24 / 6 + 3 * 5 / 6),
        (one_rung, 6, 6 / 6 + 3 * 5 / 6),
        (successive_halving, 6, 6 / 6 + 2 / 3 + 1 / 2),
        (successive_halving, 24, 24 / 6 + 8 / 3 + 2 / 2),
        (successive_halving, 72, 72 / 6 + 24 / 3 + 8 / 2),
    ],
)
def test_the_cost_of_each_rival_is_as_calculated_by_hand(
    rival: Callable[[Problem], Plan], num: int, cost: float
) -> None:
    plan = rival(problem_of(num))
    assert plan.cost == pytest.approx(cost)
    assert plan.makespan(1) == pytest.approx(cost)


@pytest.mark.parametrize(("workers", "span"), [(1, 4.5), (2, 2.5), (3, 2.5), (4, 1.5)])
def test_a_stage_waits_for_the_one_before_and_free_workers_take_the_next_training(
    workers: int, span: float
) -> None:
    plan = Plan(chosen=0, stages=[[1, 1, 1, 1], [0.5]])
    assert plan.makespan(workers) == span


def test_trainings_of_different_lengths_start_in_their_order() -> None:
    assert Plan(chosen=0, stages=[[3, 1, 1, 2]]).makespan(2) == 4


def test_rivals_choose_the_best_score_of_what_they_trained_in_full() -> None:
    problem = problem_of(24)
    assert default_alone(problem).chosen == 0
    assert random_full_runs(problem).chosen == 8
    for rival in (all_full_runs, one_rung, successive_halving):
        assert rival(problem).chosen == 23


def test_what_is_best_at_the_end_alone_is_lost_at_a_rung() -> None:
    problem = problem_of(24, late=5)
    assert all_full_runs(problem).chosen == random_full_runs(problem).chosen == 5
    assert one_rung(problem).chosen == successive_halving(problem).chosen == 23


def test_the_four_learning_rates_of_a_grid_spread_over_its_range() -> None:
    problem = recorded_problem(read_grid(DATA / "replay-tweets-tiny.csv"), 40, repeat=0)
    chosen = rates(problem)
    found = sorted(problem.parameters[number]["learning_rate"] for number in chosen)
    assert len(set(chosen)) == 4
    assert found[0] < 4e-4
    assert found[-1] > 2e-3


def test_the_four_of_a_simulated_problem_are_the_default_and_three_others() -> None:
    chosen = rates(problem_of(24))
    assert chosen[0] == 0
    assert len(set(chosen)) == 4
