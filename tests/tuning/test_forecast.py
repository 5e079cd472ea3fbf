"""The time left: said only when there is something to go by, and then honestly."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.tuning.builders import completed, configuration, trial
from tests.tuning.forecasting import Said, Simulation
from tuning.forecast import Outlook, seconds_left
from tuning.rungs import plan_evaluations
from tuning.trials import Trial

CASES: list[tuple[int, dict[str, Any]]] = [
    (2, {"trials": 24, "confirm_max_replicates": 5}),
    (4, {"trials": 40, "confirm_max_replicates": 5}),
    (1, {"trials": 12, "confirm_max_replicates": 3}),
    (2, {"trials": 12, "scheduler": "none", "confirm_replicates": 0}),
    (3, {"trials": 20, "scheduler": "median", "confirm_max_replicates": 3}),
]


def outlook(trials: Sequence[Trial], *, slots: int = 2, requested: int = 6, **more: Any) -> Outlook:
    config = configuration(search={"confirm_replicates": 0, **more.pop("search", {})})
    return Outlook(
        plan=plan_evaluations(1000, 3, config.search),
        search=config.search,
        requested=requested,
        trials=trials,
        slots=slots,
        occupied={},
        **more,
    )


def share_inside(said: Sequence[Said], ended: float) -> float:
    """Of all moments at which a range was given: the share at which it held the truth."""
    given = [(ended - at, found) for at, found in said if found is not None]
    return sum(low <= left <= high for left, (low, high) in given) / len(given)


@pytest.mark.parametrize(("slots", "search"), CASES)
def test_the_true_time_left_lies_within_the_range_seven_times_in_eight(
    slots: int, search: dict[str, Any]
) -> None:
    shares = []
    for seed in range(4):
        simulation = Simulation(seed=seed, slots=slots, search=search | {"seed": seed})
        said = simulation.run()
        # What comes after the last trial is Ray's end and the report.
        shares.append(share_inside(said, simulation.now + 3.0))
    assert sum(shares) / len(shares) >= 7 / 8


def test_nothing_is_said_before_there_are_evaluations_to_go_by() -> None:
    assert seconds_left(outlook([trial(0), trial(1)])) is None
    assert seconds_left(outlook([trial(0, (250, 0.3), (500, 0.3)), trial(1)])) is None


def test_a_default_alone_is_known_to_run_to_the_end() -> None:
    last = trial(0, (250, 0.3), (500, 0.3), (750, 0.4))  # 100 rows a second, 2,250 to go
    low, high = seconds_left(outlook([last], requested=1)) or (0, 0)
    assert 18 < low < 22.5 < high < 36


def test_a_running_trial_may_be_stopped_at_its_next_rung_or_reach_the_end() -> None:
    trials = [completed(0, 0.5), trial(1, (250, 0.3), (500, 0.3), (750, 0.4))]
    low, high = seconds_left(outlook(trials, requested=2)) or (0, 0)
    assert low < 7.5 + 1  # 1,500 is the next rung
    assert high > 22.5


def test_the_time_budget_caps_both_ends() -> None:
    trials = [completed(0, 0.5), trial(1, (250, 0.3), (500, 0.3), (750, 0.4))]
    low, high = seconds_left(outlook(trials, requested=100, limit=10.0)) or (0, 0)
    assert low <= high <= 18


def test_a_confirmation_is_counted_from_the_fewest_trainings_to_the_most() -> None:
    rates = [{"learning_rate": 0.001 * k, "batch_size": 16} for k in range(1, 4)]
    trials = [
        completed(0, 0.5),
        *(completed(k + 1, 0.6, parameters=p) for k, p in enumerate(rates)),
    ]
    search = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}
    found = seconds_left(outlook(trials, requested=4, slots=1, search=search))
    low, high = found or (0, 0)
    assert 12 * 30 / 1.2 < low < 12 * 30 + 2
    assert high > 16 * 30
