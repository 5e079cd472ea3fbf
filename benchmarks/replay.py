"""Replay a problem through the product's own policy, with any number of workers.

Time is simulated: a worker trains a trial for as many rows as the policy lets it, evaluations are
reported when they are due, and a free worker asks for the next trial, as `tuning.driver` does. The
unit is a training row; figures are in full trainings.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.problems import Problem
from results.trial_states import Status
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.policy import Policy
from tuning.record import choose
from tuning.searchers import FixedSearcher
from tuning.space import Parameters, Value
from tuning.trials import Ending, Phase, Trial


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search returned, and what it cost, in full trainings."""

    chosen: int
    """The configuration."""
    search: float
    """Trained by the search's trials."""
    confirmation: float
    """Trained by the confirmation's trials."""
    makespan: float
    """From the first trial's start to the last one's end."""
    confirmation_busy: float | None
    """Share of the workers' time that they were busy, from the first start after the search to the
    end; None: nothing was confirmed."""

    @property
    def cost(self) -> float:
        """Full trainings of search and confirmation together."""
        return self.search + self.confirmation


def replay(
    problem: Problem, *, workers: int = 1, search: Mapping[str, Any] | None = None, **fields: Any
) -> Outcome:
    """Run a search of a problem to its end.

    Args:
        problem: whose scores are reported.
        workers: trials that run at the same time.
        search: fields of `search` that differ from the problem's configuration, such as
            `decision_rule`.
        **fields: of the policy.
    """
    return replay_to_end(problem, workers=workers, search=search, **fields)[0]


def replay_to_end(
    problem: Problem, *, workers: int = 1, search: Mapping[str, Any] | None = None, **fields: Any
) -> tuple[Outcome, Policy]:
    """Run a search as `replay`, and return its policy as well."""
    configuration = _with_search(problem.configuration, search or {})
    policy = Policy(
        configuration=configuration,
        plan=problem.plan_of(configuration),
        num_rows=problem.num_rows,
        validation_share=problem.validation_share,
        constant_score=problem.constant_score,
        searcher=_Listed(configuration, problem.parameters),
        **fields,
    )
    simulation = _Simulation(problem=problem, policy=policy, num_free=workers)
    simulation.run()
    return simulation.outcome(workers), policy


def _with_search(configuration: Configuration, changes: Mapping[str, Any]) -> Configuration:
    if not changes:
        return configuration
    search = configuration.search.model_copy(update=dict(changes))
    return configuration.model_copy(update={"search": search})


class _Listed(FixedSearcher):
    """Suggests the configurations of a problem in their order."""

    def __init__(self, configuration: Configuration, parameters: Sequence[Parameters]) -> None:
        super().__init__(configuration)
        self._parameters = parameters

    def suggest(self, trial_id: str, number: int) -> Parameters:
        return self._parameters[number]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The time of a worker on one trial."""

    is_confirmation: bool
    start: int
    end: int


@dataclass(kw_only=True)
class _Simulation:
    """A policy and its workers, driven from event to event; times are in training rows."""

    problem: Problem
    policy: Policy
    num_free: int
    """Workers without a trial."""
    _events: list[tuple[int, int, Trial, int, int]] = field(default_factory=list, init=False)
    """Evaluations to come: time, order of arrival, trial, its position, start of the trial."""
    _num_events: int = field(default=0, init=False)
    _jobs: list[_Job] = field(default_factory=list, init=False)
    _search_ended: int | None = field(default=None, init=False)
    _numbers: dict[tuple[Value, ...], int] = field(init=False)

    def __post_init__(self) -> None:
        parameters = self.problem.parameters
        self._numbers = {tuple(one.values()): number for number, one in enumerate(parameters)}

    def run(self) -> None:
        """Train until no worker has a trial."""
        self._start_trials(0)
        while self._events:
            now, _, trial, position, started = heapq.heappop(self._events)
            self._report(now, trial, position, started)
            if self._search_ended is None and self.policy.phase != Phase.SEARCH:
                self._search_ended = now
            self._start_trials(now)

    def outcome(self, workers: int) -> Outcome:
        """Return the figures of the search, which has ended."""
        budget = self.problem.plan.budget
        rows = [0, 0]
        for job in self._jobs:
            rows[job.is_confirmation] += job.end - job.start
        chosen = choose(self.policy)
        assert chosen is not None, "every trial has collapsed"
        return Outcome(
            chosen=self._number(chosen),
            search=rows[0] / budget,
            confirmation=rows[1] / budget,
            makespan=max(job.end for job in self._jobs) / budget,
            confirmation_busy=self._busy_share(workers),
        )

    def _busy_share(self, workers: int) -> float | None:
        end, start = max(job.end for job in self._jobs), self._search_ended
        if start is None or start >= end:
            return None
        busy = sum(max(job.end - max(job.start, start), 0) for job in self._jobs)
        return busy / (workers * (end - start))

    def _start_trials(self, now: int) -> None:
        while self.num_free and isinstance(trial := self.policy.next(), Trial):
            self.num_free -= 1
            self._expect(now, trial, position=len(trial.evaluations), started=now)

    def _expect(self, now: int, trial: Trial, *, position: int, started: int) -> None:
        points = self.problem.plan.points
        before = points[position - 1] if position else 0
        event = (now + points[position] - before, self._num_events, trial, position, started)
        heapq.heappush(self._events, event)
        self._num_events += 1

    def _report(self, now: int, trial: Trial, position: int, started: int) -> None:
        """Report an evaluation; the trial continues, or its worker is free."""
        number = self._number(trial.parameters)
        score = self.problem.score(number, trial.replicate, position)
        evaluation = self._evaluation(self.problem.plan.points[position], score)
        self.policy.report(trial.trial_id, evaluation)
        is_last = position + 1 == len(self.problem.plan.points)
        if is_last:
            self.policy.ended(trial.trial_id, Ending(status=Status.COMPLETED))
        if is_last or not trial.is_running:
            is_confirmation = trial.is_confirmation
            self._jobs.append(_Job(is_confirmation=is_confirmation, start=started, end=now))
            self.num_free += 1
        else:
            self._expect(now, trial, position=position + 1, started=started)

    def _evaluation(self, examples: int, score: float) -> Evaluation:
        return Evaluation(
            examples=examples,
            epoch=examples / self.problem.num_rows,
            seconds=float(examples),
            learning_rate=0.0,
            train_loss=1.0,
            eval_loss=1.0,
            score=score,
            f1_macro=score,
            accuracy=score,
            collapsed=score <= self.problem.constant_score,
        )

    def _number(self, parameters: Parameters) -> int:
        return self._numbers[tuple(parameters.values())]
