"""How long a search will still take: a range, made of what its trials have cost so far.

Costs are seconds of a place for one trial. The low end takes everything to be as short as it may
be, running trials stopped at their next rung and the confirmation settled after its first draws;
the high end takes running trials to the end and the confirmation through all its draws.
"""

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Any

from results.trial_states import Source
from tuning.config import SearchConfig
from tuning.confirmation import ranking
from tuning.observers import Observer
from tuning.policy import Policy
from tuning.rungs import EvaluationPlan
from tuning.trials import Phase, Trial

Range = tuple[float, float]
"""Low and high end, seconds."""

_FEWEST_INTERVALS = 3
"""Evaluations before which nothing is said: a pace needs some."""
_WIDTH = 1.28
"""Standard errors either side of each part of the sum: eight in ten, were costs normal."""
_LEAST_DRIFT = 0.2
"""Share by which the pace of the rest may differ from the measured one, at least."""
_AFTERWARDS: Range = (1.0, 8.0)
"""For Ray to end and the report to be written."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is left to do, as the driver knows it."""

    plan: EvaluationPlan
    search: SearchConfig
    requested: int
    """Trials of the search."""
    trials: Sequence[Trial]
    """That have begun, and confirmations that are about to."""
    slots: int
    """Trials at once."""
    is_confirming: bool = False
    occupied: Mapping[str, float]
    """Seconds that ended trials had a place for, the start of their process included."""
    limit: float | None = None
    """Seconds left of the time budget."""


def seconds_left(outlook: Outlook) -> Range | None:
    """The range; None before there is anything to go by."""
    paces = _paces(outlook.trials)
    if sum(len(trial.evaluations) for trial in outlook.trials) < _FEWEST_INTERVALS or not paces:
        return None
    drift = 1 + _drift(outlook.trials)
    low, high = (_seconds(outlook, paces, is_high=is_high) for is_high in (False, True))
    low, high = low / drift + _AFTERWARDS[0], high * drift + _AFTERWARDS[1]
    if outlook.limit is not None:
        most = max(outlook.limit, 0.0) + _AFTERWARDS[1]
        low, high = min(low, most), min(high, most)
    return low, high


def _seconds(outlook: Outlook, paces: Mapping[str, float], *, is_high: bool) -> float:
    """One end of the range, the pace taken as measured."""
    confirms = outlook.search.confirm_replicates > 0
    running = [
        _cost_of_rest(trial, outlook, paces, is_high=is_high)
        for trial in outlook.trials
        if trial.is_running
    ]
    if outlook.is_confirming:
        rounds = outlook.search.confirm_max_replicates - _num_replicates(outlook.trials)
        return _makespan(running, outlook.slots) + is_high * max(rounds, 0) * _round(outlook, paces)
    pending = _cost_of_pending(outlook, paces, is_high=is_high)
    seconds = _makespan([*running, *pending], outlook.slots)
    return seconds + (_confirmation(outlook, paces, is_high=is_high) if confirms else 0.0)


def _makespan(costs: Iterable[float], slots: int) -> float:
    """Seconds until all are done, each begun when the first place is free."""
    places = [0.0] * max(slots, 1)
    for cost in costs:
        heapq.heapreplace(places, places[0] + cost)
    return max(places)


def _cost_of_rest(
    trial: Trial, outlook: Outlook, paces: Mapping[str, float], *, is_high: bool
) -> float:
    """Of a running trial: up to where it may be stopped next, or to its end."""
    seen = trial.evaluations[-1].examples if trial.evaluations else 0
    goal = outlook.plan.budget
    if not is_high and not trial.is_never_stopped:
        goal = next((rung for rung in outlook.plan.rungs if rung > seen), goal)
    low, high = _pace_of(trial, outlook.trials, paces)
    begins = 0.0 if trial.evaluations else _turnaround(outlook)
    return begins + max(goal - seen, 0) * (high if is_high else low)


def _cost_of_pending(outlook: Outlook, paces: Mapping[str, float], *, is_high: bool) -> list[float]:
    """Of the trials not yet begun, by what ended ones cost; each the same share of their sum.

    Before there are many, one that ends at the first rung and one that goes to the end count as
    two more.
    """
    begun = [trial for trial in outlook.trials if not trial.is_confirmation]
    num = max(outlook.requested - len(begun), 0)
    if not num:
        return []
    plan, typical = outlook.plan, median(paces.values())
    first = plan.rungs[0] if plan.rungs else plan.budget
    costs = [
        *(_cost_of_ended(trial, outlook) for trial in begun if _tells_cost(trial)),
        *(_turnaround(outlook) + rows * typical for rows in (first, plan.budget)),
    ]
    error = _WIDTH * pstdev(costs) * math.sqrt(num + num**2 / len(costs))
    total = num * fmean(costs) + (error if is_high else -error)
    total = min(max(total, num * min(costs)), num * max(costs))
    return [total / num] * num


def _tells_cost(trial: Trial) -> bool:
    """Whether a trial says what another one will cost: the default is never stopped early."""
    return not trial.is_running and not trial.is_never_stopped


def _cost_of_ended(trial: Trial, outlook: Outlook) -> float:
    known = outlook.occupied.get(trial.trial_id)
    return (trial.seconds or 0.0) + _turnaround(outlook) if known is None else known


def _turnaround(outlook: Outlook) -> float:
    """Seconds of a place that no trial trains in: a typical one, so without most first starts."""
    idle = [
        outlook.occupied[trial.trial_id] - trial.seconds
        for trial in outlook.trials
        if trial.trial_id in outlook.occupied and trial.seconds is not None
    ]
    return max(median(idle), 0.0) if idle else 0.0


def _confirmation(outlook: Outlook, paces: Mapping[str, float], *, is_high: bool) -> float:
    """From the fewest trainings that are sure to come to the most that may."""
    search = outlook.search
    scored = [trial for trial in ranking(outlook.trials) if trial.source == Source.SEARCH]
    challengers = len({tuple(trial.parameters.items()) for trial in scored})
    if is_high:
        begun = [trial for trial in outlook.trials if not trial.is_confirmation]
        challengers += sum(trial.is_running for trial in begun)
        challengers += max(outlook.requested - len(begun), 0)
    challengers = min(challengers, search.confirm_top)
    if not challengers:
        return 0.0
    early = sum(trial.is_confirmation for trial in outlook.trials)
    first = (challengers + 1) * search.confirm_replicates - early
    pace = _pooled(paces.values(), num=challengers + 1)[is_high]
    each = _turnaround(outlook) + outlook.plan.budget * pace
    seconds = _makespan([each] * max(first, 0), outlook.slots)
    rounds = max(search.confirm_max_replicates - search.confirm_replicates, 0)
    return seconds + is_high * rounds * _round(outlook, paces)


def _round(outlook: Outlook, paces: Mapping[str, float]) -> float:
    """One additional replicate of leader and default; the slowest candidate leads."""
    confirmed = [trial for trial in outlook.trials if trial.is_confirmation]
    slow = [_pace_of(trial, outlook.trials, paces)[1] for trial in confirmed]
    pace = max(slow, default=_pooled(paces.values(), num=2)[1])
    each = _turnaround(outlook) + outlook.plan.budget * pace
    return _makespan([each] * 2, outlook.slots)


def _num_replicates(trials: Iterable[Trial]) -> int:
    return max((trial.replicate for trial in trials if trial.is_confirmation), default=0)


def _paces(trials: Iterable[Trial]) -> dict[str, float]:
    """Seconds a row of each trial that has shown something."""
    return {
        trial.trial_id: trial.evaluations[-1].seconds / trial.evaluations[-1].examples
        for trial in trials
        if trial.evaluations and trial.evaluations[-1].seconds > 0
    }


def _pace_of(trial: Trial, trials: Sequence[Trial], paces: Mapping[str, float]) -> Range:
    """A trial's own pace, else that of the same configuration, else what others lie between."""
    if own := paces.get(trial.trial_id):
        return own, own
    same = [
        paces[other.trial_id]
        for other in trials
        if other.parameters == trial.parameters and other.trial_id in paces
    ]
    return (min(same), max(same)) if same else _pooled(paces.values(), num=1)


def _pooled(paces: Iterable[float], *, num: int) -> Range:
    """Between what `num` configurations are likely to go at on average."""
    known = list(paces)
    error = _WIDTH * pstdev(known) / math.sqrt(num)
    return max(fmean(known) - error, min(known)), min(fmean(known) + error, max(known))


def _drift(trials: Iterable[Trial]) -> float:
    """How unlike the pace was between the evaluations of one trial, as a share of its own."""
    shares: list[float] = []
    for trial in trials:
        shown = [(0, 0.0), *((e.examples, e.seconds) for e in trial.evaluations)]
        paces = [
            (seconds - before) / (rows - rows_before)
            for (rows_before, before), (rows, seconds) in pairwise(shown)
        ]
        if len(paces) > 1 and fmean(paces) > 0:
            shares.append(pstdev(paces) / fmean(paces))
    return max(median(shares), _LEAST_DRIFT) if shares else _LEAST_DRIFT


_WINDOW_S = 60.0
"""The rows a second are those of the last minute, or since the last evaluation before it."""


@dataclass(kw_only=True)
class Progress(Observer):
    """Times of one start of a search, and what they say of the rest."""

    policy: Policy
    clock: Callable[[], float] = time.monotonic
    """Seconds, the time budget being counted from 0."""
    _began: dict[str, float] = field(default_factory=dict, init=False)
    _occupied: dict[str, float] = field(default_factory=dict, init=False)
    _at_once: int = field(default=0, init=False)
    _rows: int = field(default=0, init=False)
    """Training rows that were seen until the last evaluation."""
    _seen: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    """Evaluations of the last minute and one before: (time, training rows seen by then)."""

    def started(self, trial: Trial) -> None:
        """Take a trial that a place is asked for."""
        self._began[trial.trial_id] = self.clock()
        self._at_once = max(self._at_once, len(self._began) - len(self._occupied))

    def evaluated(self, trial: Trial) -> None:
        """Take the last evaluation of a trial."""
        now, shown = self.clock(), [evaluation.examples for evaluation in trial.evaluations[-2:]]
        self._rows += shown[-1] - (shown[0] if len(shown) > 1 else 0)
        self._seen.append((now, self._rows))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW_S:
            self._seen.popleft()

    def ended(self, trial: Trial) -> None:
        """Take a trial that has given its worker back."""
        began = self._began.get(trial.trial_id)
        if began is not None:
            self._occupied[trial.trial_id] = self.clock() - began

    def record(self) -> dict[str, Any]:
        """`progress` of the record of a running search."""
        left = seconds_left(self._outlook())
        phase = Phase.CONFIRMATION if self.policy.confirmation else Phase.SEARCH
        return {
            "phase": phase.value,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "waiting": [t.trial_id for t in self.policy.store if self._waits(t)],
            "rows_per_second": self._rows_per_second(),
            "seconds_left": None if left is None else [round(end, 1) for end in left],
            "time_budget_s": self.policy.configuration.search.time_budget_s,
        }

    def _waits(self, trial: Trial) -> bool:
        return trial.is_running and trial.trial_id not in self._began

    def _rows_per_second(self) -> float | None:
        if len(self._seen) < 2:
            return None
        (before, rows_before), (now, rows) = self._seen[0], self._seen[-1]
        return round((rows - rows_before) / (now - before), 2) if now > before else None

    def _outlook(self) -> Outlook:
        policy = self.policy
        budget = policy.configuration.search.time_budget_s
        return Outlook(
            plan=policy.plan,
            search=policy.configuration.search,
            requested=policy.requested,
            trials=list(policy.store),
            slots=self._at_once,
            is_confirming=policy.phase != Phase.SEARCH,
            occupied=self._occupied,
            limit=None if budget is None else budget - self.clock(),
        )
