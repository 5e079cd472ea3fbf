"""Decide at rungs whether a trial is promoted or stopped early: the rules `asha` and `median`.

A new rule, such as pausing a trial and promoting it later, starts in `is_promoted`; `tuning.policy`
then stops the trial or lets it continue.

ASHA is the stopping variant of successive halving in Li et al. 2020, A System for Massively
Parallel Hyperparameter Tuning: a trial is promoted if it is among the best 1 in `reduction_factor`
of all trials that have reached the rung. Median: Golovin et al. 2017, Google Vizier, section 3.2.1,
on the scores of one rung.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from results.rung_scores import last_two, mean, positions_at
from results.trial_states import Source, StoppedBy
from training.config import TrainingConfig
from training.metrics import Evaluation
from training.objective import CLEARLY_ABOVE
from training.schedule import Schedule, num_warmup_steps, schedule_of
from tuning.config import Configuration, SearchConfig
from tuning.space import MODEL, largest_batch_size
from tuning.trials import Trial

LEAST_STEPS = 50
"""Optimizer steps before which there is no rung. In recorded grids of 777 and 1,172 training rows,
at 45 to 50 steps at most 4 % of the trials of any batch size had left the constant predictor."""

_WARMUP_SHARE_OF_RUNG = 2 / 3
_MIN_TRIALS_FOR_A_MEDIAN = 3


def is_promoted(
    score: float,
    scores: Sequence[float],
    search: SearchConfig,
    *,
    constant_score: float,
) -> bool:
    """Return whether a trial is promoted at a rung.

    All are promoted until most of the other trials at the rung have left the constant predictor.
    Trials with equal scores are all promoted or all stopped, in whatever order they arrive.

    Args:
        score: of the trial at the rung.
        scores: of all trials that have reached the rung, this one included.
        search: with the scheduler and its reduction factor.
        constant_score: score of the best constant predictor on the validation rows.
    """
    if search.decision_rule > 1:
        threshold = constant_score + CLEARLY_ABOVE
        num_left = sum(other > threshold for other in scores) - (score > threshold)
        if 2 * num_left <= len(scores) - 1:
            return True
    return _is_among_the_best(score, scores, search)


def _is_among_the_best(score: float, scores: Sequence[float], search: SearchConfig) -> bool:
    ranked = sorted(scores, reverse=True)
    if search.scheduler == "asha":
        num_kept = max(1, len(ranked) // search.reduction_factor)
        return score >= ranked[num_kept - 1]
    if len(ranked) < _MIN_TRIALS_FOR_A_MEDIAN:
        return True
    return score >= ranked[(len(ranked) - 1) // 2]


def is_judged_at(rung: int, training: TrainingConfig, schedule: Schedule) -> bool:
    """Return whether a trial's warm-up ended before two thirds of the rung.

    A trial whose warm-up ends later passes the rung without being judged.
    """
    warmup = schedule.examples_after(num_warmup_steps(training, schedule))
    return warmup < _WARMUP_SHARE_OF_RUNG * rung


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """When trials are evaluated and judged, in training rows seen, ascending."""

    budget: int
    points: tuple[int, ...]
    """Where evaluations are due; the last is the budget."""
    rungs: tuple[int, ...]
    """The points, below the budget, at which trials are judged."""
    ends_at_last_rung: bool = False
    """Whether trials of the search end at the last rung; the best are trained afresh."""

    @property
    def end(self) -> int:
        """Training rows after which a trial of the search ends."""
        return self.rungs[-1] if self.ends_at_last_rung else self.budget

    def rungs_between(self, before: int, examples: int) -> tuple[int, ...]:
        """Return the rungs that a trial reaches between two evaluations.

        There can be more than one, if a step spans several.
        """
        return tuple(rung for rung in self.rungs if before < rung <= examples)


def plan_of(configuration: Configuration, num_rows: int) -> EvaluationPlan:
    """Return the plan of a configuration over `num_rows` training rows per epoch."""
    search, training = configuration.search, configuration.training
    largest = largest_batch_size(search.space, training)
    return plan_evaluations(num_rows, training.epochs, search, batch_size=largest)


def describe_absent_rungs(configuration: Configuration, plan: EvaluationPlan) -> str:
    """Return why the scheduler stops no trial; empty: it can stop some, or there is none."""
    search, training = configuration.search, configuration.training
    if search.scheduler == "none" or plan.rungs:
        return ""
    reason = f"no rung is at {LEAST_STEPS} steps or more"
    if search.grace_epochs >= training.epochs:
        reason = (
            f"the first rung, search.grace_epochs {search.grace_epochs:g}, is not below the budget,"
            f" training.epochs {training.epochs}"
        )
    return f"no trial is stopped early by {search.scheduler}: {reason}"


def plan_evaluations(
    num_rows: int, epochs: int, search: SearchConfig, *, batch_size: int
) -> EvaluationPlan:
    """Return the plan of a search; rungs before `LEAST_STEPS` steps are left out.

    There may be no rung at all, if the budget is short: then no trial is stopped by the scheduler.

    Args:
        num_rows: training rows per epoch.
        epochs: of a full training.
        search: with the scheduler, its rungs and the evaluations per epoch.
        batch_size: the largest that a trial may have.
    """
    budget = num_rows * epochs
    per_epoch = search.evaluations_per_epoch
    regular = {
        round(num_rows * number / per_epoch) or 1 for number in range(1, epochs * per_epoch + 1)
    }
    least = LEAST_STEPS * batch_size if search.decision_rule > 1 else 0
    rungs = {rung for rung in _rungs_of(search, num_rows, budget, regular) if rung >= least}
    has_rivals = search.trials > 1 or search.algorithm == "grid"
    is_confirmed = search.decision_rule > 1 and search.confirm_replicates > 0 and has_rivals
    return EvaluationPlan(
        budget=budget,
        points=tuple(sorted(regular | rungs)),
        rungs=tuple(sorted(rungs)),
        ends_at_last_rung=is_confirmed and bool(rungs),
    )


def _rungs_of(
    search: SearchConfig, num_rows: int, budget: int, regular: Iterable[int]
) -> Iterable[int]:
    """Return the rungs that the scheduler asks for, in training rows seen, below the budget."""
    first = max(1, round(search.grace_epochs * num_rows))
    if search.scheduler == "asha":
        return _geometric(first, search.reduction_factor, budget)
    if search.scheduler == "median":
        return {point for point in (*regular, first) if first <= point < budget}
    return ()


def _geometric(first: int, factor: int, budget: int) -> Iterable[int]:
    for power in range(math.ceil(math.log(max(budget / first, 1), factor)) + 1):
        rung = first * factor**power
        if rung < budget:
            yield rung


def expected_rows(
    plan: EvaluationPlan, search: SearchConfig, *, seen: int = 0, passed: Collection[int] = ()
) -> float:
    """Return the training rows that a trial will still see on average, if its scores are random.

    At each rung one trial in `reduction_factor` is promoted under `asha`; under `median` half of
    the trials reach the end.

    Args:
        plan: of the search.
        search: with the scheduler.
        seen: training rows that the trial has seen.
        passed: rungs at which it will be promoted whatever its scores are.
    """
    promoted = 1 / search.reduction_factor
    if search.scheduler == "median":
        promoted = 0.5 ** (1 / max(len(plan.rungs), 1))
    rows, share, before = 0.0, 1.0, seen
    for point in sorted({*plan.rungs, plan.end}):
        if point > seen:
            rows += share * (point - before)
            share, before = share * (1 if point in passed else promoted), point
    return rows


def expected_rows_of_search(plan: EvaluationPlan, search: SearchConfig, num_trials: int) -> float:
    """Return the training rows that all trials of a search see on average, if scores are random.

    Trial 0 is not stopped at a rung.
    """
    return plan.end + (num_trials - 1) * expected_rows(plan, search)


@dataclass(kw_only=True)
class RungScores:
    """The score of each trial at each rung; that of a finished trial is computed once."""

    plan: EvaluationPlan
    num_rows: int
    """Training rows per epoch."""
    _final: dict[int, dict[str, float | None]] = field(default_factory=dict, init=False)
    """By rung and trial."""

    def at(self, rung: int, trials: Iterable[Trial]) -> list[float]:
        """Return the scores of the trials that have reached a rung and are judged there."""
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
        """Return a trial's score at a rung; None if it did not reach it or is not judged there."""
        evaluations = self.evaluations(trial, rung)
        return mean([one.score for one in evaluations]) if evaluations else None

    def is_judged(self, trial: Trial, rung: int) -> bool:
        """Return whether a trial is judged at a rung: its warm-up ends early enough."""
        return is_judged_at(rung, trial.training, schedule_of(trial.training, self.num_rows))

    def evaluations(self, trial: Trial, rung: int) -> Sequence[Evaluation]:
        """Return the evaluations whose mean is a trial's score at a rung; none if it has none."""
        if trial.has_failed or not self.is_judged(trial, rung):
            return ()
        finite = [one for one in trial.evaluations if one.is_finite]
        seen = [one.examples for one in finite]
        positions = positions_at(seen, rung, budget=self.plan.budget)
        if not positions and trial.stopped_by == StoppedBy.PATIENCE:
            # Its score had stopped improving: the last ones stand for the rung.
            positions = last_two(len(finite))
        return [finite[position] for position in positions]


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Compares trials at the rungs of one search."""

    rung_scores: RungScores
    search: SearchConfig
    constant_score: float
    """Score of the best constant predictor on the validation rows."""

    @property
    def plan(self) -> EvaluationPlan:
        """When trials are evaluated and judged."""
        return self.rung_scores.plan

    def reason_to_stop(self, trial: Trial, trials: Iterable[Trial]) -> StoppedBy:
        """Return what stops a trial at its last evaluation; `NOBODY`: it continues.

        Args:
            trial: of the search.
            trials: all of the search, this one included.
        """
        if not trial.is_never_stopped and not self._is_promoted(trial, list(trials)):
            return StoppedBy.SCHEDULER
        return StoppedBy.CONFIRMATION if self._is_at_end(trial) else StoppedBy.NOBODY

    def _is_promoted(self, trial: Trial, trials: list[Trial]) -> bool:
        before = trial.evaluations[-2].examples if len(trial.evaluations) > 1 else 0
        reached = self.plan.rungs_between(before, trial.examples)
        # Those that reach the end are ranked there, and not judged.
        judging = [rung for rung in reached if rung < self.plan.end]
        return all(self._is_promoted_at(rung, trial, trials) for rung in judging)

    def _is_promoted_at(self, rung: int, trial: Trial, trials: list[Trial]) -> bool:
        own = self.rung_scores.score(trial, rung)
        if own is None or self._leads_its_encoder(trial, own, rung, trials):
            return True
        if self.search.decision_rule > 1:  # trial 0 is confirmed anyway
            trials = [one for one in trials if one.source != Source.DEFAULT]
        scores = self.rung_scores.at(rung, trials)
        return is_promoted(own, scores, self.search, constant_score=self.constant_score)

    def _leads_its_encoder(
        self, trial: Trial, own: float, rung: int, trials: Iterable[Trial]
    ) -> bool:
        """Return whether encoders are searched and no trial of the same one scored better.

        Such a trial is promoted, since encoders do not learn equally fast: an encoder that is
        behind at the first rung may lead at the end. In simulated searches over three encoders
        (tests/tuning/test_encoders_in_policy.py) this takes an eighth more training rows.
        """
        if MODEL not in self.search.space:
            return False
        ours = [one for one in trials if one.parameters[MODEL] == trial.parameters[MODEL]]
        return own >= max(self.rung_scores.at(rung, ours), default=own)

    def _is_at_end(self, trial: Trial) -> bool:
        """Return whether a trial has reached the last rung and ends there.

        One whose warm-up ended too late for that rung trains on to the full budget.
        """
        is_there = self.plan.ends_at_last_rung and trial.examples >= self.plan.end
        return is_there and self.rung_scores.is_judged(trial, self.plan.end)
