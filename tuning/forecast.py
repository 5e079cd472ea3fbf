"""Forecast how long a search will take, before it starts and while it runs.

Before the first evaluation all costs are those that a rehearsal measured (`tuning.rehearsal`); as
trials run, their own take over. The forecast is the expected number of seconds until the report is
written. Replicates after the first at which a challenger can win count once they have started: in
simulated searches (`benchmarks.many_searches`) half of the confirmations end there or before.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from statistics import fmean, median
from typing import Any, Self

from results.trial_states import Source
from training.checkpoint import CHECKPOINT_SHARE
from training.config import TINY, TrainingConfig
from training.objective import CLEARLY_ABOVE
from training.schedule import schedule_of
from tuning.config import SearchConfig
from tuning.confirmation_rule import most_trainings
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.ranking import Ranking
from tuning.rehearsal import Rehearsal
from tuning.rungs import EvaluationPlan, expected_rows, is_judged_at
from tuning.searchers import FixedSearcher
from tuning.space import name_of_model, with_parameters
from tuning.trials import Phase, Trial

_MIN_EVALUATIONS = 3
"""Evaluations before which nothing is forecast without a rehearsal: a pace needs some."""
_CLOSING_S = 2.5
"""Seconds for Ray to end and the report to be written; measured on 2 cores."""
_REPORT_S = 0.007
"""Seconds in which a worker reports an evaluation to the driver; measured on 2 cores."""
_TURNAROUND_S = 0.2
"""Seconds in which Ray gives a worker its next trial."""
_WINDOW_S = 60.0
"""The rows per second are those of the last minute, or since the last evaluation before it."""
_MOST_COMING = 100
"""Coming trials whose configurations are known to the forecast; the others cost the mean."""
_STEPS_TO_LEARN = 150
"""Steps after which half of the trials of a model from scratch have left the constant predictor, in
the recorded grids of `benchmarks/data`. At rungs before, all are promoted."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a trial trains."""

    training: TrainingConfig
    model: str | None
    """Name of its encoder; None: the only one."""

    @classmethod
    def of(cls, trial: Trial) -> Self:
        """Return what a trial trains."""
        return cls(training=trial.training, model=name_of_model(trial.parameters))


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
    coming: Sequence[Candidate] = ()
    """What trials of the search that have not started are likely to train with."""
    rehearsal: Rehearsal | None = None
    """None: nothing was timed before the search."""
    passes_early_rungs: bool = False
    """Whether all are promoted at rungs before `_STEPS_TO_LEARN` steps."""
    start_up: float = 0.0
    """Seconds until the first training starts."""

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
        if self.rehearsal is not None:  # which outweighs the first trials, whose workers start
            idle += [self.rehearsal.between + _TURNAROUND_S] * (self.slots + 1)
        return max(median(idle), 0.0) if idle else 0.0

    @property
    def num_pending(self) -> int:
        """Trials of the search that have not started."""
        return max(self.requested - sum(not trial.is_confirmation for trial in self.trials), 0)

    @cached_property
    def correction(self) -> float:
        """Seconds that the trials have trained, over those that the rehearsal let expect."""
        measured = expected = 0.0
        for trial in self.trials:
            if trial.trial_id in self.paces:
                measured += trial.evaluations[-1].seconds
                expected += trial.examples * self.rehearsed_pace(Candidate.of(trial))
        return measured / expected if expected else 1.0

    def rehearsed_pace(self, candidate: Candidate) -> float:
        """Return the seconds per training row, evaluations included; 0 without a rehearsal."""
        if self.rehearsal is None:
            return 0.0
        found, training = self.rehearsal.of(candidate.model), candidate.training
        num_rows = self.ranking.rung_scores.num_rows
        steps = schedule_of(training, num_rows).total_steps * found.seconds_a_step(
            training.batch_size
        )
        evaluations = len(self.plan.points) * (found.evaluation + _REPORT_S)
        most = CHECKPOINT_SHARE * (steps + evaluations)
        checkpoints = min(len(self.plan.points) * found.checkpoint, most + found.checkpoint)
        return (steps + evaluations + checkpoints) / self.plan.budget

    def expected_rows(self, training: TrainingConfig, *, seen: int = 0) -> float:
        """Return the training rows that a trial will still see on average."""
        schedule = schedule_of(training, self.ranking.rung_scores.num_rows)
        least = _STEPS_TO_LEARN * training.batch_size if self.passes_early_rungs else 0
        passed = [
            rung
            for rung in self.plan.rungs
            if rung < least or not is_judged_at(rung, training, schedule)
        ]
        return expected_rows(self.plan, self.search, seen=seen, passed=passed)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Expected seconds of each phase that is still to come."""

    search: float
    confirmation: float
    """With the end of the search and its report."""

    @property
    def seconds(self) -> float:
        """Of both."""
        return self.search + self.confirmation

    def within(self, limit: float | None) -> "Forecast":
        """Return the same with at most the seconds that are left of a time budget."""
        if limit is None or self.seconds <= limit + _CLOSING_S:
            return self
        limit = max(limit, 0.0)
        confirmation = min(self.confirmation, limit / 2 + _CLOSING_S)
        return Forecast(search=limit + _CLOSING_S - confirmation, confirmation=confirmation)


def forecast(work: RemainingWork) -> Forecast | None:
    """Return the expected seconds until the search ends; None before a pace is known."""
    num_evaluations = sum(len(trial.evaluations) for trial in work.trials)
    if work.rehearsal is None and (num_evaluations < _MIN_EVALUATIONS or not work.paces):
        return None
    running = [_cost_of_running(trial, work) for trial in work.trials if trial.is_running]
    replicates = _costs_of_replicates(work)
    if work.num_finalists is not None:
        confirmation = _makespan([*running, *replicates], work.slots)
        found = Forecast(search=0.0, confirmation=work.start_up + confirmation + _CLOSING_S)
    else:
        search = _makespan([*running, *_costs_of_pending(work)], work.slots)
        found = Forecast(
            search=work.start_up + search,
            confirmation=_makespan(replicates, work.slots) + _CLOSING_S,
        )
    return found.within(work.limit)


def seconds_left(work: RemainingWork) -> float | None:
    """Return the expected seconds until the search ends; None before a pace is known."""
    found = forecast(work)
    return None if found is None else found.seconds


def _makespan(costs: Iterable[float], num_slots: int) -> float:
    """Return the seconds until all trials have finished, each started in the first free slot."""
    slots = [0.0] * max(num_slots, 1)
    for cost in costs:
        heapq.heapreplace(slots, slots[0] + cost)
    return max(slots)


def _cost_of_running(trial: Trial, work: RemainingWork) -> float:
    """Return the expected seconds until a running trial ends."""
    ends_at = work.plan.budget if trial.is_confirmation else work.plan.end
    rows: float = max(ends_at - trial.examples, 0)
    if not trial.is_never_stopped:
        rows = work.expected_rows(trial.training, seen=trial.examples)
    start = 0.0 if trial.evaluations else work.turnaround
    return start + rows * _pace(work, trial)


def _costs_of_pending(work: RemainingWork) -> list[float]:
    """Return the expected seconds of each trial of the search that has not started.

    The rows of those that have ended are averaged, that of the default left out, since it is never
    stopped early. Before many have ended, the rows that the rungs let expect count as one more.
    """
    finished = [t.examples for t in work.trials if not t.is_running and not t.is_never_stopped]
    costs = []
    for number, candidate in enumerate(work.coming[: work.num_pending]):
        is_default = work.requested - work.num_pending + number == 0
        rows = work.plan.end if is_default else work.expected_rows(candidate.training)
        costs.append(work.turnaround + fmean([*finished, rows]) * _pace_of(work, candidate))
    if not costs and work.num_pending:
        rows = expected_rows(work.plan, work.search)
        costs = [work.turnaround + fmean([*finished, rows]) * fmean(work.paces.values())]
    return costs + [fmean(costs)] * (work.num_pending - len(costs)) if costs else []


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
    known = [_pace(work, trial) for trial in work.trials if not trial.is_confirmation]
    paces = [*known, *(_pace_of(work, candidate) for candidate in work.coming)]
    training = work.turnaround + work.plan.budget * fmean(paces or work.paces.values())
    return [training] * max(num_trainings - num_started, 0)


def _expected_finalists(work: RemainingWork) -> int:
    scored = [t for t in work.ranking.ranked(work.trials) if t.source == Source.SEARCH]
    num_challengers = len({tuple(trial.parameters.items()) for trial in scored})
    num_challengers += sum(t.is_running for t in work.trials if not t.is_confirmation)
    return min(num_challengers + work.num_pending, work.search.num_finalists)


def _pace(work: RemainingWork, trial: Trial) -> float:
    """Return a trial's own pace, else that of its configuration, else one that is expected."""
    if own := work.paces.get(trial.trial_id):
        return own
    same = [t.trial_id for t in work.trials if t.parameters == trial.parameters]
    known = [work.paces[trial_id] for trial_id in same if trial_id in work.paces]
    return fmean(known) if known else _pace_of(work, Candidate.of(trial))


def _pace_of(work: RemainingWork, candidate: Candidate) -> float:
    """Return the expected pace of a configuration: rehearsed, else the mean of all."""
    if work.rehearsal is not None:
        return work.rehearsed_pace(candidate) * work.correction
    return fmean(work.paces.values())


@dataclass(kw_only=True)
class Progress(Observer):
    """Measures the times of one start of a search, and forecasts the rest."""

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    """Seconds; the time budget is counted from 0."""
    rehearsal: Rehearsal | None = None
    """None: nothing was timed before the search."""
    slots: int = 0
    """Trials that will run at once, until it is seen how many do."""
    starts_at: float = 0.0
    """When the first training is expected to start, on the clock."""
    _started_at: dict[str, float] = field(default_factory=dict, init=False)
    _occupied: dict[str, float] = field(default_factory=dict, init=False)
    _at_once: int = field(default=0, init=False)
    _rows: int = field(default=0, init=False)
    """Training rows seen up to the last evaluation."""
    _trainings: list[Candidate] = field(default_factory=list, init=False)
    """Of the trials by number, as far as they were asked for."""
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
        left = seconds_left(self.remaining_work())
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

    def remaining_work(self) -> RemainingWork:
        """Return what the search still has to do, and what its trials have cost."""
        policy, now = self.policy, self.clock()
        configuration = policy.configuration
        budget = configuration.search.time_budget_s
        return RemainingWork(
            plan=policy.plan,
            search=configuration.search,
            ranking=policy.ranking,
            requested=policy.requested,
            trials=list(policy.store),
            slots=self._at_once or self.slots,
            num_finalists=self._num_finalists(),
            occupied=self._occupied,
            limit=None if budget is None else budget - now,
            coming=self._coming(),
            rehearsal=self.rehearsal,
            passes_early_rungs=self._passes_early_rungs(),
            start_up=0.0 if self._seen else max(self.starts_at - now, 0.0),
        )

    def _passes_early_rungs(self) -> bool:
        """Return whether the model starts with random weights and is not seen to learn faster."""
        policy, model = self.policy, self.policy.configuration.model
        starts_random = model.name == TINY or model.weights == "random"
        if not starts_random or policy.configuration.search.decision_rule == 1:
            return False
        threshold = policy.constant_score + CLEARLY_ABOVE
        scores = [
            score
            for rung in policy.plan.rungs[:1]
            for score in policy.ranking.rung_scores.at(rung, policy.store.searched)
        ]
        return not scores or 2 * sum(score > threshold for score in scores) <= len(scores)

    def _coming(self) -> list[Candidate]:
        """Return what coming trials train with; under `tpe` others of the same space."""
        training = self.policy.configuration.training
        first = len(self.policy.store.searched)
        last = min(self.policy.requested, first + _MOST_COMING)
        if not self._trainings:
            self._trainings.append(Candidate(training=training, model=None))
        if last > len(self._trainings):
            searcher = FixedSearcher(self.policy.configuration, self.policy.searcher.first_points)
            for number in range(len(self._trainings), last):
                parameters = searcher.suggest("", number)
                self._trainings.append(
                    Candidate(
                        training=with_parameters(training, parameters),
                        model=name_of_model(parameters),
                    )
                )
        return self._trainings[first:last]
