"""Rank the trials of a search: the score of each at the highest rung, or the budget, it reached.

Where trials end at the last rung, the score is that of the highest rung that a trial reached. A
trial whose warm-up ended too late for the last rung trains on to the full budget; its score there
stands for the last rung. Elsewhere only trials that reached the full budget have a score.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from results.rung_scores import mean
from results.trial_states import Source, Status
from training.metrics import Evaluation
from tuning.rungs import RungScores
from tuning.space import MODEL, Parameters, Value
from tuning.trials import Trial

_ENDED = (Status.COMPLETED, Status.STOPPED)


@dataclass(frozen=True, kw_only=True)
class SearchScore:
    """The score of a trial in the search, and where it was taken."""

    level: int
    """Number of the rung, from 1; trials are compared at the same level."""
    evaluations: Sequence[Evaluation]
    """Whose mean score it is."""

    @property
    def score(self) -> float:
        """The mean score."""
        return mean([one.score for one in self.evaluations])

    @property
    def epoch(self) -> float:
        """Epochs trained at the last of the evaluations."""
        return self.evaluations[-1].epoch


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Ranks the trials of one search by their scores at the highest level that they reached."""

    rung_scores: RungScores

    def search_score(self, trial: Trial) -> SearchScore | None:
        """Return the score of a trial in the search; None: it has none."""
        plan = self.rung_scores.plan
        if trial.final is not None:
            return SearchScore(level=len(plan.rungs), evaluations=[trial.final])
        if not plan.ends_at_last_rung:
            return None
        for level in range(len(plan.rungs), 0, -1):
            if evaluations := self.rung_scores.evaluations(trial, plan.rungs[level - 1]):
                return SearchScore(level=level, evaluations=evaluations)
        return None

    def ranked(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that have ended with a score, best first.

        Those at a higher rung come first; of equal scores, the older trial. Trials that predicted
        one class at the end of the full budget are left out; at a rung they come last, since they
        may still learn.
        """
        scored = [
            (trial, score)
            for trial in trials
            if trial.status in _ENDED and (score := self.search_score(trial)) is not None
        ]
        scored.sort(
            key=lambda one: (one[0].has_collapsed, -one[1].level, -one[1].score, one[0].number)
        )
        return [trial for trial, _ in scored]

    def _best_of_encoders(self, ranked: Sequence[Trial]) -> Iterable[Trial]:
        """Return the best trial of each searched encoder at the highest level that any reached.

        Args:
            ranked: trials, best first.
        """
        levels = [self.search_score(trial) for trial in ranked]
        highest = max((found.level for found in levels if found), default=0)
        best: dict[Value, Trial] = {}
        for trial, found in zip(ranked, levels, strict=True):
            if found and found.level == highest and MODEL in trial.parameters:
                best.setdefault(trial.parameters[MODEL], trial)
        return best.values()

    def candidates(self, trials: Sequence[Trial], num_best: int) -> list[Parameters]:
        """Return the configurations to confirm: the default, then the finalists, best first.

        The default is confirmed whatever its score is; a configuration that was sampled twice is
        included once. Where encoders are searched, the best trial of each comes before the second
        of any, so that "which encoder?" is not answered by the search's own scores.
        """
        chosen = [next(trial.parameters for trial in trials if trial.source == Source.DEFAULT)]
        ranked = self.ranked(trials)
        for trial in (*self._best_of_encoders(ranked), *ranked):
            if len(chosen) <= num_best and trial.parameters not in chosen:
                chosen.append(trial.parameters)
        return chosen
