"""Forecast how long a search will still take, from what its trials have cost so far.

The forecast is the expected number of seconds until the report is written. There is no forecast
before a few evaluations have been measured. Replicates after the first at which a challenger can
win count once they have started.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from statistics import fmean, median
from typing import Any

from results.trial_states import Source
from tuning.config import SearchConfig
from tuning.confirmation_rule import most_trainings
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.ranking import Ranking
from tuning.rungs import EvaluationPlan, expected_rows
from tuning.trials import Phase, Trial

_MIN_EVALUATIONS = 3
"""Evaluations before which nothing is forecast: a pace needs some."""
_CLOSING_S = 4.0
"""Seconds for Ray to end and the report to be written."""
_WINDOW_S = 60.0
"""The rows per second are those of the last minute, or since the last evaluation before it."""


@dataclass(frozen=True, kw_only=True)
class RemainingWork:
    """What a search still has to do, and what its trials have cost."""

    plan: EvaluationPlan
    search: SearchConfig
    ranking: Ranking
    requested: int
    """Trials of the search."""
    trials: Sequence[Trial]
    """Trials that have started, and confirmations that will start next."""
    slots: int
    """Trials that run at once."""
    num_finalists: int | None = None
    """Challengers that are being confirmed, 0 once the decision is taken; None: the search has not
    finished."""
    occupied: Mapping[str, float]
    """Seconds that each finished trial took up a slot, including the start of its process."""
    limit: float | None = None
    """Seconds left of the time budget."""

    @cached_property
    def paces(self) -> Mapping[str, float]:
        """Seconds per training row of each trial that has been evaluated."""
        return {
            trial.trial_id: trial.evaluations[-1].seconds / trial.evaluations[-1].examples
            for trial in self.trials
            if trial.evaluations and trial.evaluations[-1].seconds > 0
        }

    @cached_property
    def turnaround(self) -> float:
        """Median seconds that a slot is taken up without training, per finished trial."""
        idle = [
            self.occupied[trial.trial_id] - trial.seconds
            for trial in self.trials
            if trial.trial_id in self.occupied and trial.seconds is not None
        ]
        return max(median(idle), 0.0) if idle else 0.0

    @property
    def num_pending(self) -> int:
        """Trials of the search that have not started."""
        return max(self.requested - sum(not trial.is_confirmation for trial in self.trials), 0)


def seconds_left(work: RemainingWork) -> float | None:
    """Return the expected seconds until the search ends; None before a pace is known."""
    num_evaluations = sum(len(trial.evaluations) for trial in work.trials)
    if num_evaluations < _MIN_EVALUATIONS or not work.paces:
        return None
    running = [_cost_of_running(trial, work) for trial in work.trials if trial.is_running]
    if work.num_finalists is not None:
        seconds = _makespan([*running, *_costs_of_replicates(work)], work)
    else:
        pending = [_cost_of_pending(work)] * work.num_pending
        confirmation = _makespan(_costs_of_replicates(work), work)
        seconds = _makespan([*running, *pending], work) + confirmation
    return _CLOSING_S + (seconds if work.limit is None else min(seconds, max(work.limit, 0.0)))


def _makespan(costs: Iterable[float], work: RemainingWork) -> float:
    """Return the seconds until all trials have finished, each started in the first free slot."""
    slots = [0.0] * max(work.slots, 1)
    for cost in costs:
        heapq.heapreplace(slots, slots[0] + cost)
    return max(slots)


def _cost_of_running(trial: Trial, work: RemainingWork) -> float:
    """Return the expected seconds until a running trial ends."""
    ends_at = work.plan.budget if trial.is_confirmation else work.plan.end
    rows: float = max(ends_at - trial.examples, 0)
    if not trial.is_never_stopped:
        rows = expected_rows(work.plan, work.search, seen=trial.examples)
    start = 0.0 if trial.evaluations else work.turnaround
    return start + rows * _pace(work, trial)


def _cost_of_pending(work: RemainingWork) -> float:
    """Return the expected seconds of a trial that has not started: the mean of finished ones.

    The default is left out, since it is never stopped early. Before many trials have finished, the
    cost that the rungs let expect counts as one more.
    """
    finished = [t for t in work.trials if not t.is_running and not t.is_never_stopped]
    costs = [_cost_of_finished(trial, work) for trial in finished]
    rows = expected_rows(work.plan, work.search)
    return fmean([*costs, work.turnaround + rows * fmean(work.paces.values())])


def _cost_of_finished(trial: Trial, work: RemainingWork) -> float:
    return work.occupied.get(trial.trial_id, (trial.seconds or 0.0) + work.turnaround)


def _costs_of_replicates(work: RemainingWork) -> list[float]:
    """Return the expected seconds of each confirming training that has not started.

    The confirmation is expected to end at the first replicate at which a challenger can win.
    """
    num_finalists = _expected_finalists(work) if work.num_finalists is None else work.num_finalists
    if not num_finalists:
        return []
    num_started = sum(trial.is_confirmation for trial in work.trials)
    num_trainings = most_trainings(
        work.search, num_finalists=num_finalists, up_to=work.search.confirm_replicates
    )
    training = work.turnaround + work.plan.budget * fmean(work.paces.values())
    return [training] * max(num_trainings - num_started, 0)


def _expected_finalists(work: RemainingWork) -> int:
    scored = [t for t in work.ranking.ranked(work.trials) if t.source == Source.SEARCH]
    num_challengers = len({tuple(trial.parameters.items()) for trial in scored})
    num_challengers += sum(t.is_running for t in work.trials if not t.is_confirmation)
    return min(num_challengers + work.num_pending, work.search.confirm_top)


def _pace(work: RemainingWork, trial: Trial) -> float:
    """Return a trial's own pace, else that of its configuration, else the mean of all."""
    if own := work.paces.get(trial.trial_id):
        return own
    same = [t.trial_id for t in work.trials if t.parameters == trial.parameters]
    known = [work.paces[trial_id] for trial_id in same if trial_id in work.paces]
    return fmean(known or work.paces.values())


@dataclass(kw_only=True)
class Progress(Observer):
    """Measures the times of one start of a search, and forecasts the rest."""

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    """Seconds; the time budget is counted from 0."""
    _started_at: dict[str, float] = field(default_factory=dict, init=False)
    _occupied: dict[str, float] = field(default_factory=dict, init=False)
    _at_once: int = field(default=0, init=False)
    _rows: int = field(default=0, init=False)
    """Training rows seen up to the last evaluation."""
    _seen: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    """Evaluations of the last minute and one before: (time, training rows seen by then)."""

    def started(self, trial: Trial) -> None:
        """Note when the trial asked for a slot."""
        self._started_at[trial.trial_id] = self.clock()
        self._at_once = max(self._at_once, len(self._started_at) - len(self._occupied))

    def evaluated(self, trial: Trial) -> None:
        """Count the training rows since the evaluation before."""
        now, rows = self.clock(), [evaluation.examples for evaluation in trial.evaluations[-2:]]
        self._rows += rows[-1] - (rows[0] if len(rows) > 1 else 0)
        self._seen.append((now, self._rows))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_S:
            self._seen.popleft()

    def ended(self, trial: Trial) -> None:
        """Note how long the trial took up its slot."""
        if trial.trial_id in self._started_at:
            self._occupied[trial.trial_id] = self.clock() - self._started_at[trial.trial_id]

    def record(self) -> dict[str, Any]:
        """Return `progress` of the record of a running search."""
        left = seconds_left(self._remaining_work())
        phase = Phase.CONFIRMATION if self.policy.confirmation else Phase.SEARCH
        return {
            "phase": phase.value,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "waiting": [t.trial_id for t in self.policy.store if self._is_waiting(t)],
            "rows_per_second": self._rows_per_second(),
            "seconds_left": None if left is None else round(left, 1),
            "time_budget_s": self.policy.configuration.search.time_budget_s,
        }

    def _is_waiting(self, trial: Trial) -> bool:
        return trial.is_running and trial.trial_id not in self._started_at

    def _rows_per_second(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (before, rows_before), (now, rows) = self._seen[0], self._seen[-1]
        return round((rows - rows_before) / (now - before), 2) if now > before else None

    def _num_finalists(self) -> int | None:
        confirmation = self.policy.confirmation
        if confirmation is None:
            return None
        return 0 if confirmation.is_complete else len(confirmation.chosen) - 1

    def _remaining_work(self) -> RemainingWork:
        policy = self.policy
        budget = policy.configuration.search.time_budget_s
        return RemainingWork(
            plan=policy.plan,
            search=policy.configuration.search,
            ranking=policy.ranking,
            requested=policy.requested,
            trials=list(policy.store),
            slots=self._at_once,
            num_finalists=self._num_finalists(),
            occupied=self._occupied,
            limit=None if budget is None else budget - self.clock(),
        )
