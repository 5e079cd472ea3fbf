"""The forecast of the time left, in simulated searches whose true duration is known."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from results.trial_states import Status
from tests.tuning.builders import (
    at_last_rung,
    completed,
    configuration,
    evaluation,
    policy,
    trial,
)
from tuning.forecast import Progress, RemainingWork, seconds_left
from tuning.ranking import Ranking
from tuning.rungs import RungScores, plan_evaluations
from tuning.space import Parameters
from tuning.trials import Decision, Ending, Phase, Trial

START_UP_S, TURNAROUND_S, REPORT_S = 8.0, 0.5, 3.0

Forecast = tuple[float, float | None]
"""When it was made, and the seconds left."""


@dataclass(kw_only=True)
class Simulation:
    """One search, with workers whose pace drifts."""

    seed: int
    slots: int
    search: dict[str, Any]
    now: float = 0.0
    forecasts: list[Forecast] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = policy(config=configuration(search=self.search))
        self.progress = Progress(policy=self.policy, clock=lambda: self.now)
        self.random = np.random.default_rng(self.seed)
        self.due: list[tuple[float, str, float]] = []
        """Evaluations to come: when, of which trial, seconds of training since the one before."""
        self.num_started = 0

    def run(self) -> list[Forecast]:
        self.fill_slots()
        while self.due:
            self.now, trial_id, seconds = heapq.heappop(self.due)
            if self.policy.phase == Phase.FINISHED:
                break  # trials that had started ahead of time are stopped
            self.evaluate(self.policy.store[trial_id], seconds)
            self.fill_slots()
        self.now += TURNAROUND_S + REPORT_S
        return self.forecasts

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
        """Schedule the next evaluation of a trial."""
        load = 1 + 0.2 * math.sin(self.now / 200 + 2.4 * self.seed)
        noise = self.random.lognormal(0, 0.15)
        rows = self.next_point(trial) - trial.examples
        seconds = rows * pace(trial.parameters) * load * noise
        heapq.heappush(self.due, (self.now + after + seconds, trial.trial_id, seconds))

    def evaluate(self, trial: Trial, seconds: float) -> None:
        """Report an evaluation of a trial, which then continues or ends."""
        point = self.next_point(trial)
        total = (trial.evaluations[-1].seconds if trial.evaluations else 0.0) + seconds
        learnt = 1 - math.exp(-point / 800)
        score = quality(trial.parameters) * learnt + self.random.normal(0, 0.03)
        decision = self.policy.report(trial.trial_id, evaluation(point, score, seconds=total))
        self.progress.evaluated(trial)
        if decision is Decision.CONTINUE and point >= self.policy.plan.budget:
            self.policy.ended(trial.trial_id, Ending(status=Status.COMPLETED, seconds=total))
        if trial.is_running:
            self.schedule(trial)
        for ended in self.policy.take_concluded():
            self.progress.ended(ended)
        self.forecasts.append((self.now, self.progress.record()["seconds_left"]))

    def next_point(self, trial: Trial) -> int:
        """Return the training rows at which a trial is evaluated next."""
        return next(point for point in self.policy.plan.points if point > trial.examples)


def pace(parameters: Parameters) -> float:
    """Return seconds per row: small batches are slow."""
    return 0.01 * (1 + 16 / parameters["batch_size"])


def quality(parameters: Parameters) -> float:
    """Return a quality that is best at a learning rate of 2e-3."""
    return 0.7 - 0.1 * abs(math.log(parameters["learning_rate"] / 2e-3))


def relative_errors(forecasts: Sequence[Forecast], ended: float) -> list[float]:
    """Return |forecast - truth| / truth of each forecast while over 30 seconds were left."""
    made = [(left, ended - at) for at, left in forecasts if left is not None]
    return [abs(left - truth) / truth for left, truth in made if truth > 30]


CASES: list[tuple[int, dict[str, Any]]] = [
    (2, {"trials": 24, "confirm_max_replicates": 5}),
    (4, {"trials": 40, "confirm_max_replicates": 5}),
    (1, {"trials": 12, "confirm_max_replicates": 3}),
    (2, {"trials": 12, "scheduler": "none", "confirm_replicates": 0}),
    (3, {"trials": 20, "scheduler": "median", "confirm_max_replicates": 3}),
]


@pytest.mark.parametrize(("slots", "search"), CASES)
def test_half_of_the_forecasts_are_off_by_less_than_a_quarter_and_few_by_half(
    slots: int, search: dict[str, Any]
) -> None:
    errors = []
    for seed in range(4):
        simulation = Simulation(seed=seed, slots=slots, search=search | {"seed": seed})
        errors += relative_errors(simulation.run(), simulation.now)
    half, nine_in_ten = np.quantile(errors, [0.5, 0.9])
    assert half < 0.25
    assert nine_in_ten < 0.5


def remaining_work(
    trials: Sequence[Trial], *, slots: int = 2, requested: int = 6, **changes: Any
) -> RemainingWork:
    config = configuration(search={"confirm_replicates": 0, **changes.pop("search", {})})
    plan = plan_evaluations(1000, 3, config.search, batch_size=1)
    return RemainingWork(
        plan=plan,
        search=config.search,
        ranking=Ranking(rung_scores=RungScores(plan=plan, num_rows=1000)),
        requested=requested,
        trials=trials,
        slots=slots,
        occupied={},
        **changes,
    )


ONE_HUNDRED_ROWS_PER_SECOND = ((250, 0.3), (500, 0.3), (750, 0.4))


def test_nothing_is_forecast_before_three_evaluations() -> None:
    assert seconds_left(remaining_work([trial(0), trial(1)])) is None
    assert seconds_left(remaining_work([trial(0, (250, 0.3), (500, 0.3)), trial(1)])) is None


def test_the_default_is_expected_to_run_to_the_budget_if_nothing_is_confirmed() -> None:
    default = trial(0, *ONE_HUNDRED_ROWS_PER_SECOND)  # 2,250 rows to go
    left = seconds_left(remaining_work([default], requested=1))
    assert left is not None
    assert 22.5 <= left < 30


def test_the_default_is_expected_to_end_at_the_last_rung_and_to_be_trained_afresh() -> None:
    default = trial(0, *ONE_HUNDRED_ROWS_PER_SECOND)  # 750 rows to go
    failed = trial(1, status="failed", parameters={"learning_rate": 2e-3, "batch_size": 16})
    search = {"confirm_replicates": 3, "confirm_top": 3}
    left = seconds_left(remaining_work([default, failed], requested=2, slots=1, search=search))
    assert left is not None
    confirmed = 3 * 2 * 30  # the trial that runs counts as one that may become a finalist
    assert 7.5 + confirmed <= left < 7.5 + confirmed + 5


def test_another_trial_is_expected_to_be_stopped_at_a_rung_two_times_in_three() -> None:
    trials = [completed(0, 0.5), trial(1, *ONE_HUNDRED_ROWS_PER_SECOND)]
    left = seconds_left(remaining_work(trials, requested=2))
    assert left is not None
    expected = 7.5 + 15 / 3  # to the rung at 1,500, then one in three to the budget
    assert expected <= left < expected + 5


def test_the_forecast_never_exceeds_the_time_budget() -> None:
    trials = [completed(0, 0.5), trial(1, *ONE_HUNDRED_ROWS_PER_SECOND)]
    left = seconds_left(remaining_work(trials, requested=100, limit=10.0))
    assert left is not None
    assert left <= 15


FINALISTS = [{"learning_rate": 0.001 * k, "batch_size": 16} for k in range(1, 4)]
CONFIRMED = {"confirm_top": 3, "confirm_replicates": 3, "confirm_max_replicates": 5}


def ended_search() -> list[Trial]:
    challengers = [at_last_rung(k + 1, 0.6, parameters=p) for k, p in enumerate(FINALISTS)]
    return [at_last_rung(0, 0.5), *challengers]


def test_a_confirmation_counts_one_finalist_less_for_each_of_the_first_replicates() -> None:
    left = seconds_left(remaining_work(ended_search(), requested=4, slots=1, search=CONFIRMED))
    assert left is not None
    assert (4 + 3 + 2) * 30 <= left < (4 + 3 + 2) * 30 + 5


def test_under_the_first_rule_it_counts_all_candidates_for_each_of_the_first_replicates() -> None:
    trials = [completed(0, 0.5)]
    trials += [completed(k + 1, 0.6, parameters=p) for k, p in enumerate(FINALISTS)]
    search = {**CONFIRMED, "decision_rule": 1}
    left = seconds_left(remaining_work(trials, requested=4, slots=1, search=search))
    assert left is not None
    assert 12 * 30 <= left < 12 * 30 + 5


def test_a_running_confirmation_counts_the_replicates_to_come() -> None:
    trials = [*ended_search(), completed(4, 0.5, source="confirm", replicate=1)]
    trials.append(trial(5, *ONE_HUNDRED_ROWS_PER_SECOND, source="confirm", parameters=FINALISTS[0]))
    work = remaining_work(trials, requested=4, slots=1, search=CONFIRMED, num_finalists=3)
    left = seconds_left(work)
    assert left is not None
    assert 22.5 + 7 * 30 <= left < 22.5 + 7 * 30 + 5


def test_nothing_is_to_come_once_the_decision_is_taken() -> None:
    work = remaining_work(ended_search(), requested=4, search=CONFIRMED, num_finalists=0)
    left = seconds_left(work)
    assert left is not None
    assert left < 5
