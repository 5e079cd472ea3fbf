"""The deadlines of a search with a time budget."""

import pytest

from tuning.time_budget import TimeBudget


def measured(seconds: float, *, rows_to_confirm: int, rows_before: int = 0) -> TimeBudget:
    """A budget after 1,000 rows in 100 s, from the first trial's start on, which came at 100 s."""
    budget = TimeBudget(seconds=seconds, rows_before=rows_before)
    budget.pass_to(100.0)
    budget.start()
    budget.pass_to(200.0)
    budget.measure(rows_seen=rows_before + 1000, rows_to_confirm=rows_to_confirm)
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
        assert end_of(TimeBudget(seconds=1000, rows_before=0), of_search=of_search) == 950


def test_without_a_budget_nothing_ever_ends() -> None:
    budget = TimeBudget(seconds=None, rows_before=0)
    budget.start()
    budget.pass_to(1e9)
    budget.measure(rows_seen=1, rows_to_confirm=1)
    assert not budget.is_late(of_search=True)
    assert not budget.is_late(of_search=False)


def test_the_confirmation_is_left_the_time_it_takes() -> None:
    assert end_of(measured(1000, rows_to_confirm=600), of_search=True) == 950 - 60
    assert end_of(measured(1000, rows_to_confirm=600), of_search=False) == 950
    assert end_of(measured(1000, rows_to_confirm=0), of_search=True) == 950


def test_a_confirmation_that_does_not_fit_is_left_half_of_the_time() -> None:
    assert end_of(measured(1000, rows_to_confirm=10**9), of_search=True) == (100 + 950) / 2


def test_the_pace_is_that_of_this_start_from_its_first_trial_on() -> None:
    budget = measured(1000, rows_to_confirm=600, rows_before=5_000)
    budget.pass_to(300.0)
    budget.start()  # a later trial
    budget.measure(rows_seen=6_000, rows_to_confirm=600)
    assert end_of(budget, of_search=True) == 950 - 120  # 1,000 rows in 200 s


def test_before_a_trial_has_started_nothing_is_set_aside() -> None:
    budget = TimeBudget(seconds=1000, rows_before=0)
    budget.measure(rows_seen=0, rows_to_confirm=600)
    assert end_of(budget, of_search=True) == 950


@pytest.mark.parametrize("seconds", [940.0, 1000.0])
def test_a_search_whose_trials_were_halted_stays_over_whatever_is_measured_later(
    seconds: float,
) -> None:
    budget = measured(1000, rows_to_confirm=1_000)  # it ends at 850
    budget.pass_to(seconds)
    budget.measure(rows_seen=10**9, rows_to_confirm=1)
    assert budget.is_late(of_search=True)
