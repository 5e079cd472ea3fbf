"""The deadlines of a search with a time budget."""

from typing import Any

import pytest

from tests.tuning.builders import configuration
from tuning.time_budget import TimeBudget

TRAINING = 100
"""Training rows of a confirming training; 100 rows take ten seconds."""


def budget_of(seconds: float | None, *, training: int = TRAINING, **search: Any) -> TimeBudget:
    config = configuration(search={"time_budget_s": seconds, **search})
    return TimeBudget(search=config.search, rows_of_training=training)


def measured(seconds: float, *, training: int = TRAINING, **search: Any) -> TimeBudget:
    """A budget after 1,000 rows in 100 s; the first trial started at 90 s."""
    budget = budget_of(seconds, training=training, **search)
    budget.pass_to(90.0)
    budget.start()
    budget.pass_to(100.0)
    budget.measure(5_000, has_challenger=False)
    budget.pass_to(200.0)
    budget.measure(6_000, has_challenger=True)
    return budget


def end_of(budget: TimeBudget, *, of_search: bool) -> int:
    """The first whole second at which it is late."""
    start = int(budget.now)
    for second in range(start, 10_000):
        budget.pass_to(float(second))
        if budget.is_late(of_search=of_search):
            return second
    raise AssertionError("never")


def test_a_twentieth_is_kept_for_trials_to_come_to_an_evaluation() -> None:
    for of_search in (True, False):
        assert end_of(budget_of(1000), of_search=of_search) == 950


def test_without_a_budget_nothing_ever_ends() -> None:
    budget = budget_of(None)
    budget.start()
    budget.pass_to(1e9)
    budget.measure(1, has_challenger=True)
    assert not budget.is_late(of_search=True)
    assert not budget.is_late(of_search=False)
    assert budget.num_finalists() == 3


def test_the_confirmation_is_left_the_time_it_takes() -> None:
    nine = measured(1000)  # default and three, two, one finalists: nine trainings, and a margin
    assert end_of(nine, of_search=True) == 950 - 121
    assert end_of(measured(1000), of_search=False) == 950
    assert end_of(measured(1000, confirm_replicates=0), of_search=True) == 950


def test_a_confirmation_of_all_finalists_gets_at_most_half_of_the_time() -> None:
    assert end_of(measured(1000, training=500), of_search=True) == 950 - 430  # not 450


def test_what_one_finalist_needs_for_a_verdict_comes_first_up_to_four_fifths() -> None:
    assert end_of(measured(1000, training=800), of_search=True) == 950 - 648
    assert end_of(measured(1000, training=10**6), of_search=True) == 950 - 688


def test_as_many_finalists_are_confirmed_as_there_is_time_for() -> None:
    budget = measured(1000)
    found = {}
    for left in (1000, 122, 121, 109, 107, 0):
        budget.pass_to(950.0 - left)
        found[left] = budget.num_finalists()
    assert found == {1000: 3, 122: 3, 121: 2, 109: 2, 107: 1, 0: 1}


def test_the_start_of_the_workers_does_not_count_as_training() -> None:
    budget = budget_of(1000)
    budget.start()
    for now, rows_seen in ((400.0, 1), (410.0, 101)):
        budget.pass_to(now)
        budget.measure(rows_seen, has_challenger=True)
    assert end_of(budget, of_search=True) == 950 - 121


def test_before_a_challenger_has_a_score_the_search_has_all_the_time() -> None:
    budget = budget_of(1000)
    budget.start()
    for now, rows_seen in ((400.0, 1), (410.0, 101)):
        budget.pass_to(now)
        budget.measure(rows_seen, has_challenger=False)
    assert end_of(budget, of_search=True) == 950


def test_before_a_trial_has_started_nothing_is_set_aside() -> None:
    budget = budget_of(1000)
    budget.measure(0, has_challenger=True)
    assert end_of(budget, of_search=True) == 950


@pytest.mark.parametrize("seconds", [940.0, 1000.0])
def test_a_search_whose_trials_were_halted_stays_over_whatever_is_measured_later(
    seconds: float,
) -> None:
    budget = measured(1000, training=200)
    budget.pass_to(seconds)
    budget.measure(10**9, has_challenger=True)
    assert budget.is_late(of_search=True)
