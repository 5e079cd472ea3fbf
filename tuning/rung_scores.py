"""Scores of the trials at each rung."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from results.levels import mean_of_last_two, score_at
from results.trial_states import StoppedBy
from training.schedule import schedule_of
from tuning.rungs import EvaluationPlan, is_judged_at
from tuning.trials import Trial


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
