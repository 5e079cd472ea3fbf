"""The course of a training: steps, the evaluations between them, checkpoints, its end."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from training.batches import Padding, training_batches
from training.checkpoint import Checkpoint
from training.config import TrainingConfig
from training.errors import TrainingStoppedError
from training.inference import Inference
from training.metrics import Evaluation, evaluate_probabilities, weighted_loss
from training.objective import Objective
from training.optimizer import learning_rate_after
from training.saving import CheckpointWriter
from training.schedule import Schedule
from training.stepper import Stepper
from training.stopping import EarlyStopping
from training.tokens import LabelledTokens

logger = logging.getLogger(__name__)

Outcome = Literal["completed", "stopped early", "diverged"]


@dataclass(kw_only=True)
class Course:
    """One training: its steps, the evaluations that are due between them, and its end."""

    training: TrainingConfig
    schedule: Schedule
    data: LabelledTokens
    """The training rows."""
    padding: Padding
    stepper: Stepper
    inference: Inference
    weights: npt.NDArray[np.float64]
    """Of the classes, float64 [num_labels]."""
    steps: frozenset[int]
    """After which to evaluate."""
    objective: Objective
    """What evaluations are scored by."""
    evaluated: LabelledTokens
    """Rows that evaluations look at."""
    fixed_rows: LabelledTokens
    """Training rows whose loss is asked for at the end."""
    on_evaluation: Callable[[Evaluation], None]
    early_stopping: EarlyStopping | None
    writer: CheckpointWriter | None
    """None: no checkpoint is kept."""
    should_stop: Callable[[], bool]
    outcome: Outcome = "completed"
    evaluations: list[Evaluation] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Spent on the training so far, those before a break among them."""
        return time.monotonic() - self._started

    def train(self) -> int:
        """Train, from the checkpoint if there is one, and return the training rows seen."""
        found = self.writer.file.read() if self.writer is not None else None
        done = self._go_on(found) if found is not None else 0
        if not self._has_ended(done):
            batches = training_batches(
                self.data,
                schedule=self.schedule,
                seed=self.training.seed,
                padding=self.padding,
                first_step=done,
            )
            for batch in batches:
                rate = learning_rate_after(done, self.training, self.schedule)
                self.stepper.step(batch, learning_rate=rate)
                done += 1
                self._stepped(done)
                if self._has_ended(done):
                    break
        return self.schedule.examples_after(done)

    def _go_on(self, found: Checkpoint) -> int:
        """Take over what a checkpoint holds; return the steps that it comes after."""
        self._started -= found.seconds
        epochs = self.schedule.examples_after(found.step) / self.schedule.num_rows
        logger.info("going on from a checkpoint at epoch %.2f", epochs)
        for evaluation in found.evaluations:
            self._take(evaluation)
            self.on_evaluation(evaluation)
        if self._has_ended(found.step):
            self.stepper.load_weights(found.stepper)
        else:
            self.stepper.restore(found.stepper)
        step = found.step
        found.stepper.clear()  # its memory is free for the rest of the training
        return step

    def _stepped(self, step: int) -> None:
        """Evaluate if that is due, and see whether the training is to stop."""
        if step in self.steps:
            self._evaluation_due(step)
        if not self._has_ended(step) and self.should_stop():
            self._write(step)
            raise TrainingStoppedError(f"the training was asked to stop, and did at step {step}")

    def _evaluation_due(self, step: int) -> None:
        evaluation = self._evaluate(step)
        self._take(evaluation)
        if self.writer is not None and (self._has_ended(step) or self.writer.is_due()):
            self._write(step)
        self.on_evaluation(evaluation)

    def _has_ended(self, step: int) -> bool:
        return self.outcome != "completed" or step >= self.schedule.total_steps

    def _take(self, evaluation: Evaluation) -> None:
        """Note an evaluation and what it means; after a break with all those before it."""
        self.evaluations.append(evaluation)
        if not evaluation.is_finite:
            self.outcome = "diverged"
        elif self.early_stopping is not None and self.early_stopping.should_stop(evaluation):
            at_the_end = evaluation.examples >= self.schedule.budget
            self.outcome = "completed" if at_the_end else "stopped early"

    def _write(self, step: int) -> None:
        if self.writer is None:
            return
        self.writer.write(
            Checkpoint(
                step=step,
                stepper=self.stepper.snapshot(),
                evaluations=tuple(self.evaluations),
                seconds=self.seconds(),
            )
        )

    def _evaluate(self, step: int) -> Evaluation:
        log_p = self.inference.log_probabilities(self.evaluated.tokens)
        self.stepper.model.train()
        examples = self.schedule.examples_after(step)
        return Evaluation(
            examples=examples,
            epoch=examples / self.schedule.num_rows,
            learning_rate=learning_rate_after(step, self.training, self.schedule),
            train_loss=self.stepper.take_interval_loss(),
            **evaluate_probabilities(self.evaluated.labels, log_p, self.weights, self.objective),
            seconds=self.seconds(),
        )

    def fixed_rows_loss(self) -> float:
        """Weighted loss of the fixed rows, dropout off."""
        log_p = self.inference.log_probabilities(self.fixed_rows.tokens)
        return weighted_loss(self.fixed_rows.labels, log_p, self.weights)
