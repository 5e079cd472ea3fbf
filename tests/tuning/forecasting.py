"""Whole searches on a clock of their own, without Ray or training: what they forecast on their way.

Policy and progress are the real ones; only the trials are made up: each has a pace of its own that
depends on its batch size, wanders from one evaluation to the next, and slows down and recovers with
everything else on the machine.
"""

import heapq
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.tuning.builders import configuration, evaluation, policy
from tuning.forecast import Progress
from tuning.space import Parameters
from tuning.trials import Decision, Ending, Trial

START_UP_S, TURNAROUND_S = 8.0, 0.5

Said = tuple[float, tuple[float, float] | None]
"""When, and the range."""


@dataclass(kw_only=True)
class Simulation:
    """One search."""

    seed: int
    slots: int
    search: dict[str, Any]
    now: float = 0.0
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = policy(config=configuration(search=self.search))
        self.progress = Progress(policy=self.policy, clock=lambda: self.now)
        self.random = np.random.default_rng(self.seed)
        self.due: list[tuple[float, str, float]] = []
        """Evaluations to come: when, of which trial, seconds of training since the one before."""
        self.num_started = 0

    def run(self) -> list[Said]:
        self.fill_slots()
        while self.due:
            self.now, trial_id, seconds = heapq.heappop(self.due)
            self.show(self.policy.store[trial_id], seconds)
            self.fill_slots()
        self.now += TURNAROUND_S
        return self.said

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
        """Let a trial come to its next evaluation."""
        load = 1 + 0.2 * math.sin(self.now / 200 + 2.4 * self.seed)
        noise = self.random.lognormal(0, 0.15)
        rows = self.next_point(trial) - trial.examples
        seconds = rows * pace(trial.parameters) * load * noise
        heapq.heappush(self.due, (self.now + after + seconds, trial.trial_id, seconds))

    def show(self, trial: Trial, seconds: float) -> None:
        """Let a trial be evaluated, and continue or end."""
        point = self.next_point(trial)
        total = (trial.evaluations[-1].seconds if trial.evaluations else 0.0) + seconds
        learnt = 1 - math.exp(-point / 800)
        score = quality(trial.parameters) * learnt + self.random.normal(0, 0.03)
        decision = self.policy.report(trial.trial_id, evaluation(point, score, seconds=total))
        self.progress.evaluated(trial)
        if decision is Decision.CONTINUE and point >= self.policy.plan.budget:
            self.policy.ended(trial.trial_id, Ending(status="completed", seconds=total))
        if trial.is_running:
            self.schedule(trial)
        for ended in self.policy.take_concluded():
            self.progress.ended(ended)
        left = self.progress.record()["seconds_left"]
        self.said.append((self.now, left and (left[0], left[1])))

    def next_point(self, trial: Trial) -> int:
        """Training rows at which a trial is evaluated next."""
        return next(point for point in self.policy.plan.points if point > trial.examples)


def pace(parameters: Parameters) -> float:
    """Seconds a row: small batches are slow."""
    return 0.01 * (1 + 16 / parameters["batch_size"])


def quality(parameters: Parameters) -> float:
    """Best at a learning rate of 2e-3."""
    return 0.7 - 0.1 * abs(math.log(parameters["learning_rate"] / 2e-3))
