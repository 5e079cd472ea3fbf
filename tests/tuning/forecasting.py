"""Whole searches on a clock of their own, without Ray or training: what they forecast on their way.

Conductor, confirmation and progress are the real ones; only the trials are made up: each has a
pace of its own that depends on its batch size, wanders from one evaluation to the next, and slows
down and recovers with everything else on the machine.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.tuning.builders import configuration, evaluation
from tuning.conductor import Conductor, search_phase
from tuning.confirmation import Confirmation
from tuning.progress import PhaseName, Progress
from tuning.proposers import make_proposer
from tuning.rungs import EvaluationPlan, plan_evaluations
from tuning.space import Parameters
from tuning.trials import Ending, Trial

NUM_ROWS = 1000
START_UP_S, TURNAROUND_S = 8.0, 0.5
_PLACED = -1.0
"""Stands for the seconds of an evaluation where a trial only begins."""

Said = tuple[float, str, tuple[float, float] | None]
"""When, in which phase, and the range."""


@dataclass(kw_only=True)
class Simulation:
    """One search."""

    seed: int
    slots: int
    search: dict[str, Any]
    now: float = 0.0
    said: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = configuration(search=self.search)
        self.plan: EvaluationPlan = plan_evaluations(
            NUM_ROWS, self.config.training.epochs, self.config.search
        )
        self.random = np.random.default_rng(self.seed)
        self.progress = Progress(
            plan=self.plan,
            search=self.config.search,
            requested=self.config.search.trials,
            clock=lambda: self.now,
        )
        self.trials: list[Trial] = []
        self.num_workers = 0

    def run(self) -> list[Said]:
        proposer = make_proposer(self.config.search, self.config.training)
        conductor = search_phase(self.config, self.plan, NUM_ROWS, proposer, lambda: self.slots)
        self.drive(conductor, "search")
        if self.config.search.confirm_replicates:
            Confirmation(
                configuration=self.config,
                trials=self.trials,
                validation_share=0.25,
                run=self.confirm,
            ).confirm()
        return self.said

    def confirm(self, trials: Sequence[Trial]) -> None:
        conductor = Conductor(
            configuration=self.config,
            plan=self.plan,
            num_rows=NUM_ROWS,
            proposer=make_proposer(self.config.search, self.config.training),
            num_slots=lambda: self.slots,
            waiting=list(trials),
        )
        self.drive(conductor, "confirmation")

    def drive(self, conductor: Conductor, phase: PhaseName) -> None:
        self.progress.enter(phase)
        self.num_workers = 0
        due: list[tuple[float, str, float]] = []
        while True:
            while isinstance(trial := conductor.next_trial(), Trial):
                self.begin(trial)
                after = self.start_of_worker()
                heapq.heappush(due, (self.now + after, trial.trial_id, _PLACED))
                self.schedule(due, trial, after=after)
            if not due:
                break
            self.now, trial_id, seconds = heapq.heappop(due)
            if seconds == _PLACED:
                self.progress.placed(conductor.trials[trial_id])
            else:
                self.show(conductor, conductor.trials[trial_id], seconds, due)
        self.now += TURNAROUND_S

    def begin(self, trial: Trial) -> None:
        if trial not in self.trials:
            self.trials.append(trial)
        self.progress.began(trial)

    def start_of_worker(self) -> float:
        self.num_workers += 1
        return START_UP_S if self.num_workers <= self.slots else TURNAROUND_S

    def schedule(
        self, due: list[tuple[float, str, float]], trial: Trial, *, after: float = 0.0
    ) -> None:
        shown = trial.evaluations[-1].examples if trial.evaluations else 0
        point = next(point for point in self.plan.points if point > shown)
        load = 1 + 0.2 * math.sin(self.now / 200 + 2.4 * self.seed)
        noise = self.random.lognormal(0, 0.15)
        seconds = (point - shown) * pace(trial.parameters) * load * noise
        heapq.heappush(due, (self.now + after + seconds, trial.trial_id, seconds))

    def show(
        self,
        conductor: Conductor,
        trial: Trial,
        seconds: float,
        due: list[tuple[float, str, float]],
    ) -> None:
        before = trial.evaluations[-1] if trial.evaluations else None
        point = next(p for p in self.plan.points if p > (before.examples if before else 0))
        total = (before.seconds if before else 0.0) + seconds
        score = quality(trial.parameters) * (1 - math.exp(-point / 800)) + self.random.normal(
            0, 0.03
        )
        goes_on = conductor.report(trial.trial_id, evaluation(point, score, seconds=total))
        self.progress.evaluated(trial)
        if goes_on and point >= self.plan.budget:
            conductor.end(trial.trial_id, Ending(status="completed", seconds=total))
            goes_on = False
        if goes_on:
            self.schedule(due, trial)
        else:
            self.progress.ended(trial)
        left = self.progress.record(self.trials)["seconds_left"]
        self.said.append((self.now, self.progress.phase, left and (left[0], left[1])))


def pace(parameters: Parameters) -> float:
    """Seconds a row: small batches are slow."""
    return 0.01 * (1 + 16 / parameters["batch_size"])


def quality(parameters: Parameters) -> float:
    """Best at a learning rate of 2e-3."""
    return 0.7 - 0.1 * abs(math.log(parameters["learning_rate"] / 2e-3))
