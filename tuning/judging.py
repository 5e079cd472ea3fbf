"""Judge the trials of a search at each evaluation: stopped at a rung, at the end, or continued."""

from collections.abc import Iterable
from dataclasses import dataclass

from results.trial_states import Source, StoppedBy
from tuning.config import SearchConfig
from tuning.rungs import EvaluationPlan, RungScores, is_promoted
from tuning.trials import Trial


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
        if own is None:
            return True
        if self.search.decision_rule > 1:  # trial 0 is confirmed anyway
            trials = [one for one in trials if one.source != Source.DEFAULT]
        scores = self.rung_scores.at(rung, trials)
        return is_promoted(own, scores, self.search, constant_score=self.constant_score)

    def _is_at_end(self, trial: Trial) -> bool:
        """Return whether a trial has reached the last rung and ends there.

        One whose warm-up ended too late for that rung trains on to the full budget.
        """
        is_there = self.plan.ends_at_last_rung and trial.examples >= self.plan.end
        return is_there and self.rung_scores.is_judged(trial, self.plan.end)
