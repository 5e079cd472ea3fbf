import pytest

from tuning.time_budget import TimeBudget


def measured(seconds: float, *, rows_to_confirm: int, rows_before: int = 0) -> TimeBudget:
    """A budget after 1,000 rows in 100 s, from the first trial's start on, which came at 100 s."""
    budget = TimeBudget(seconds=seconds, rows_before=rows_before)
    budget.start(100.0)
    budget.measure(200.0, rows_seen=rows_before + 1000, rows_to_confirm=rows_to_confirm)
    return budget


def test_a_twentieth_is_kept_for_trials_to_come_to_an_evaluation() -> None:
    budget = TimeBudget(seconds=1000, rows_before=0)
    assert (budget.slack, budget.ends, budget.search_ends) == (50, 950, 950)


def test_without_a_budget_nothing_ever_ends() -> None:
    budget = TimeBudget(seconds=None, rows_before=0)
    budget.start(0.0)
    budget.measure(1e9, rows_seen=1, rows_to_confirm=1)
    assert (budget.slack, budget.ends, budget.search_ends) == (0, None, None)


def test_the_confirmation_is_left_the_time_it_takes() -> None:
    assert measured(1000, rows_to_confirm=600).search_ends == pytest.approx(950 - 60)
    assert measured(1000, rows_to_confirm=0).search_ends == 950


def test_a_confirmation_that_does_not_fit_is_left_half_of_the_time() -> None:
    assert measured(1000, rows_to_confirm=10**9).search_ends == (100 + 950) / 2


def test_the_pace_is_that_of_this_start_from_its_first_trial_on() -> None:
    budget = measured(1000, rows_to_confirm=600, rows_before=5_000)
    assert budget.search_ends == pytest.approx(950 - 60)
    budget.start(300.0)  # a later trial
    budget.measure(300.0, rows_seen=6_000, rows_to_confirm=600)
    assert budget.search_ends == pytest.approx(950 - 120)  # 1,000 rows in 200 s


def test_before_a_trial_has_started_nothing_is_set_aside() -> None:
    budget = TimeBudget(seconds=1000, rows_before=0)
    budget.measure(10.0, rows_seen=0, rows_to_confirm=600)
    assert budget.search_ends == 950
