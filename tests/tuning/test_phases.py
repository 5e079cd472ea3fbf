import time

import pytest

from tuning.pace import Pace, deadline_of_search


def test_the_confirmation_is_left_the_time_it_takes() -> None:
    assert deadline_of_search(100.0, 400.0, 60.0) == 340.0
    assert deadline_of_search(100.0, 400.0, 0.0) == 400.0


def test_a_confirmation_that_does_not_fit_is_left_half_of_the_time() -> None:
    assert deadline_of_search(100.0, 400.0, 1e9) == 250.0


def test_the_pace_is_that_of_this_start_and_its_workers_start_counts_once() -> None:
    pace = Pace(began=time.monotonic() - 10, rows_before=5_000)
    assert pace.seconds_for(0, 5_100) == pytest.approx(10, abs=0.5)  # the first evaluation
    pace.began -= 10
    # 1,000 rows in 20 s: 3,000 rows take 60 s, after the 10 s that workers need.
    assert pace.seconds_for(3_000, 6_000) == pytest.approx(70, abs=1)
