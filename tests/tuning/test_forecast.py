"""The time left: said only when there is something to go by, and then honestly."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.tuning.builders import completed, configuration, evaluation, policy, trial
from tuning.forecast import Outlook, Progress, seconds_left
from tuning.rungs import plan_evaluations
from tuning.space import Parameters
from tuning.time_budget import TimeBudget
from tuning.trials import Decision, Ending, Trial

START_UP_S, TURNAROUND_S = 8.0, 0.5

Said = tuple[float, tuple[float, float] | None]
"""When, and the range."""


@dataclass(kw_only=True)
class Simulation:
    """One search."""

    seed: int
    slots: int
    search: dict[str, Any]
    now: float = 0.0
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = policy(config=configuration(search=self.search))
        self.progress = Progress(policy=self.policy, clock=lambda: self.now)
        self.random = np.random.default_rng(self.seed)
        self.due: list[tuple[float, str, float]] = []
        """Evaluations to come: when, of which trial, seconds of training since the one before."""
        self.num_started = 0

    def run(self) -> list[Said]:
        self.fill_slots()
        while self.due:
            self.now, trial_id, seconds = heapq.heappop(self.due)
            self.show(self.policy.store[trial_id], seconds)
            self.fill_slots()
        self.now += TURNAROUND_S
        return self.said

    def fill_slots(self) -> None:
        while self.policy.num_live < self.slots:
            trial = self.policy.next()
            if not isinstance(trial, Trial):
                return
            self.progress.started(trial)
            self.schedule(trial, after=self.start_of_worker())

    def start_of_worker(self) -> float:
        """Seconds; workers live through the search, so that only the first trials start one."""
        self.num_started += 1
        return START_UP_S if self.num_started <= self.slots else TURNAROUND_S

    def schedule(self, trial: Trial, *, after: float = 0.0) -> None:
        """Let a trial come to its next evaluation."""
        load = 1 + 0.2 * math.sin(self.now / 200 + 2.4 * self.seed)
        noise = self.random.lognormal(0, 0.15)
        rows = self.next_point(trial) - trial.examples
        seconds = rows * pace(trial.parameters) * load * noise
        heapq.heappush(self.due, (self.now + after + seconds, trial.trial_id, seconds))

    def show(self, trial: Trial, seconds: float) -> None:
        """Let a trial be evaluated, and continue or end."""
        point = self.next_point(trial)
        total = (trial.evaluations[-1].seconds if trial.evaluations else 0.0) + seconds
        learnt = 1 - math.exp(-point / 800)
        score = quality(trial.parameters) * learnt + self.random.normal(0, 0.03)
        decision = self.policy.report(trial.trial_id, evaluation(point, score, seconds=total))
        self.progress.evaluated(trial)
        if decision is Decision.CONTINUE and point >= self.policy.plan.budget:
            self.policy.ended(trial.trial_id, Ending(status="completed", seconds=total))
        if trial.is_running:
            self.schedule(trial)
        for ended in self.policy.take_concluded():
            self.progress.ended(ended)
        left = self.progress.record()["seconds_left"]
        self.said.append((self.now, left and (left[0], left[1])))

    def next_point(self, trial: Trial) -> int:
        """Training rows at which a trial is evaluated next."""
        return next(point for point in self.policy.plan.points if point > trial.examples)


def pace(parameters: Parameters) -> float:
    """Seconds a row: small batches are slow."""
    return 0.01 * (1 + 16 / parameters["batch_size"])


def quality(parameters: Parameters) -> float:
    """Best at a learning rate of 2e-3."""
    return 0.7 - 0.1 * abs(math.log(parameters["learning_rate"] / 2e-3))


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
