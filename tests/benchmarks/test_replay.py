from dataclasses import replace

import numpy as np
import pytest

from benchmarks.problems import CELLS, Problem, recorded_problem, simulated_problem
from benchmarks.recorded import DATA, read_grid
from benchmarks.replay import replay

ALL_RUN = {"scheduler": "none", "confirm_replicates": 0}


def problem_of(scores: list[list[float]]) -> Problem:
    """Return a problem of configurations with these scores at 1, 2, 3 and 6 epochs.

    Every replicate has the same scores.
    """
    table = np.array(scores)
    problem = simulated_problem(CELLS[0], len(scores), repeat=0)
    return replace(
        problem, scores=np.repeat(table[:, None], problem.scores.shape[1], 1), truths=table[:, -1]
    )


RISING = problem_of([[0.50] * 4, [0.60] * 4, [0.70] * 4])
"""Each configuration is better than those before it: none is stopped early."""
FALLING = problem_of([[0.70] * 4, [0.60] * 4, [0.50] * 4])
"""The last configuration is stopped at the first rung."""


def test_without_scheduler_and_confirmation_every_trial_is_a_full_training() -> None:
    outcome = replay(RISING, search=ALL_RUN)
    assert (outcome.chosen, outcome.search, outcome.confirmation) == (2, 3, 0)
    assert outcome.makespan == outcome.cost == 3
    assert outcome.confirmation_busy is None


@pytest.mark.parametrize(("workers", "makespan"), [(1, 3), (2, 2), (3, 1), (8, 1)])
def test_workers_share_the_trials(workers: int, makespan: float) -> None:
    assert replay(RISING, workers=workers, search=ALL_RUN).makespan == makespan


def test_a_trial_that_is_stopped_early_costs_its_rows_alone_and_frees_its_worker() -> None:
    outcome = replay(FALLING, search={"confirm_replicates": 0})
    assert outcome.search == pytest.approx(2 + 1 / 6)
    assert outcome.makespan == pytest.approx(outcome.search)
    both = replay(FALLING, workers=2, search={"confirm_replicates": 0})
    assert (both.chosen, both.makespan) == (0, pytest.approx(1 + 1 / 6))
    three = replay(FALLING, workers=3, search={"confirm_replicates": 0})
    assert three.makespan == 1  # the last one ends meanwhile


def test_a_search_that_is_confirmed_ends_at_the_last_rung_and_trains_finalists_afresh() -> None:
    outcome = replay(FALLING)
    assert outcome.chosen == 0
    assert outcome.search == pytest.approx(1 / 2 + 1 / 2 + 1 / 6)
    assert outcome.confirmation >= 2 + 2  # default and a challenger on two replicates


def test_the_first_decision_rule_trains_to_the_budget_and_then_confirms() -> None:
    outcome = replay(RISING, search={"decision_rule": 1})
    assert outcome.search == 3
    assert outcome.confirmation >= 3 * 3  # three candidates on three replicates


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_time_of_workers_is_the_cost_and_more_time_to_confirm_is_never_worth_idling(
    workers: int,
) -> None:
    for repeat in range(5):
        outcome = replay(simulated_problem(CELLS[7], 12, repeat=repeat), workers=workers)
        assert outcome.makespan * workers >= outcome.cost - 1e-9
        if outcome.confirmation_busy is not None:
            assert 0 < outcome.confirmation_busy <= 1
    if workers == 1:
        assert outcome.makespan == pytest.approx(outcome.cost)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_replay_repeats_whatever_was_replayed_before(workers: int) -> None:
    problems = [simulated_problem(cell, 12, repeat=1) for cell in CELLS[::9]]
    forwards = [replay(problem, workers=workers) for problem in problems]
    backwards = [replay(problem, workers=workers) for problem in reversed(problems)]
    assert forwards == backwards[::-1]


def test_a_clearly_better_configuration_of_the_recorded_tweets_is_found_and_confirmed() -> None:
    problem = recorded_problem(read_grid(DATA / "replay-tweets-tiny.csv"), 24, repeat=0)
    outcome = replay(problem, workers=4)
    assert problem.gain(outcome.chosen) > 3
    assert outcome.confirmation >= 6
