"""Rungs: when a trial is looked at, what its score is there, and whether it is promoted.

Successive halving as in Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning
(ASHA), its stopping variant: a trial is promoted if it is among the best 1 in `reduction_factor` of
all that have reached the rung. Median: Golovin et al. 2017, Google Vizier, section 3.2.1, on the
scores of one rung.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from results.rung_scores import mean_of_last_two, score_at
from results.trial_states import StoppedBy
from training.config import TrainingConfig
from training.schedule import Schedule, num_warmup_steps, schedule_of
from tuning.config import SearchConfig
from tuning.trials import Trial

_WARMUP_SHARE_OF_RUNG = 2 / 3
_FEWEST_FOR_A_MEDIAN = 3


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """When trials are evaluated and judged, in training rows seen, ascending."""

    budget: int
    points: tuple[int, ...]
    """Where evaluations are due; the last is the budget."""
    rungs: tuple[int, ...]
    """The points, below the budget, at which trials are judged."""

    def rungs_between(self, before: int, examples: int) -> tuple[int, ...]:
        """Rungs that a trial reaches between two evaluations: more than one if a step spans it."""
        return tuple(rung for rung in self.rungs if before < rung <= examples)


def plan_evaluations(num_rows: int, epochs: int, search: SearchConfig) -> EvaluationPlan:
    """The plan of a search over `num_rows` training rows."""
    budget = num_rows * epochs
    per_epoch = search.evaluations_per_epoch
    regular = {
        round(num_rows * number / per_epoch) or 1 for number in range(1, epochs * per_epoch + 1)
    }
    first = max(1, round(search.grace_epochs * num_rows))
    rungs: set[int] = set()
    if search.scheduler == "asha":
        rungs = set(_geometric(first, search.reduction_factor, budget))
    elif search.scheduler == "median":
        rungs = {point for point in regular | {first} if first <= point < budget}
    return EvaluationPlan(
        budget=budget, points=tuple(sorted(regular | rungs)), rungs=tuple(sorted(rungs))
    )


def is_judged_at(rung: int, training: TrainingConfig, schedule: Schedule) -> bool:
    """Whether a trial's warm-up ended before two thirds of the rung; else it passes unjudged."""
    warmup = schedule.examples_after(num_warmup_steps(training, schedule))
    return warmup < _WARMUP_SHARE_OF_RUNG * rung


def is_promoted(score: float, scores: Iterable[float], search: SearchConfig) -> bool:
    """Whether a trial with `score` is promoted at a rung that has `scores`, its own included.

    Equal scores have equal fates, whoever came first.
    """
    ranked = sorted(scores, reverse=True)
    if search.scheduler == "asha":
        num_kept = max(1, len(ranked) // search.reduction_factor)
        return score >= ranked[num_kept - 1]
    if len(ranked) < _FEWEST_FOR_A_MEDIAN:
        return True
    return score >= ranked[(len(ranked) - 1) // 2]


def expected_epochs(epochs: int, search: SearchConfig, num_trials: int) -> float:
    """Passes over the training rows that a search is expected to make if scores say nothing.

    Trial 0 runs to the end; each rung lets one in `reduction_factor` of the others pass under
    `asha`, and half of them get to the end under `median`.
    """
    rows = 1000  # any number: only the proportions matter
    plan = plan_evaluations(rows, epochs, search)
    passing = 1 / search.reduction_factor
    if search.scheduler == "median":
        passing = 0.5 ** (1 / max(len(plan.rungs), 1))
    seen, alive, before = 0.0, 1.0, 0
    for level in (*plan.rungs, plan.budget):
        seen += alive * (level - before)
        alive, before = alive * passing, level
    return epochs + (num_trials - 1) * seen / rows


def _geometric(first: int, factor: int, budget: int) -> Iterable[int]:
    for power in range(math.ceil(math.log(max(budget / first, 1), factor)) + 1):
        rung = first * factor**power
        if rung < budget:
            yield rung


@dataclass(kw_only=True)
class RungScores:
    """What each trial is worth at each rung; of those that have ended it is computed once."""

    plan: EvaluationPlan
    num_rows: int
    """Training rows a pass."""
    _final: dict[int, dict[str, float | None]] = field(default_factory=dict, init=False)
    """By rung and trial."""

    def at(self, rung: int, trials: Iterable[Trial]) -> list[float]:
        """Scores of those that are judged there and got there."""
        final, scores = self._final.setdefault(rung, {}), []
        for trial in trials:
            if trial.trial_id in final:
                score = final[trial.trial_id]
            else:
                score = self.score(trial, rung)
                if not trial.is_running:
                    final[trial.trial_id] = score
            if score is not None:
                scores.append(score)
        return scores

    def score(self, trial: Trial, rung: int) -> float | None:
        """A trial's score at a rung; None if it is not judged there or did not get there."""
        schedule = schedule_of(trial.training, self.num_rows)
        if trial.has_failed:
            return None
        if not is_judged_at(rung, trial.training, schedule):
            return None
        reached = score_at(trial.curve, rung, budget=self.plan.budget)
        if reached is None and trial.stopped_by == StoppedBy.PATIENCE:
            # It would not have become better.
            return mean_of_last_two([score for _, score in trial.curve])
        return reached
