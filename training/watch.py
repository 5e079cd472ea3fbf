"""What happens between the steps of a training: evaluations, checkpoints, its end."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.checkpoint import Checkpoint
from training.errors import TrainingStoppedError
from training.inference import Inference
from training.metrics import Evaluation, evaluate_probabilities, weighted_loss
from training.saving import CheckpointWriter
from training.schedule import Schedule
from training.stopping import EarlyStopping
from training.tokens import LabelledTokens
from training.trainer import WeightedTrainer

logger = logging.getLogger(__name__)

Outcome = Literal["completed", "stopped early", "diverged"]


@dataclass(kw_only=True)
class Watch(TrainerCallback):
    """Evaluates at the steps that are due and ends the training where it must."""

    schedule: Schedule
    trainer: WeightedTrainer
    inference: Inference
    weights: npt.NDArray[np.float64]
    """Of the classes, float64 [num_labels]."""
    steps: frozenset[int]
    """After which to evaluate."""
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
        if found is None:
            self.trainer.train()
            return self.schedule.examples_after(self.trainer.state.global_step)
        self._started -= found.seconds
        examples = self.schedule.examples_after(found.step)
        logger.info("going on from a checkpoint at epoch %.2f", examples / self.schedule.num_rows)
        for evaluation in found.evaluations:
            self._take(evaluation)
            self.on_evaluation(evaluation)
        # The Trainer would take one more step if it were told to go on from an end.
        if self._has_ended(found.step):
            self.trainer.load_weights(found.trainer)
            return examples
        self.trainer.go_on(found.trainer)
        return self.schedule.examples_after(self.trainer.state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Evaluate if that is due, then end the training if it is to be stopped."""
        step = state.global_step
        if step in self.steps:
            self._evaluation_due(step)
            control.should_training_stop |= self.outcome != "completed"
        if not self._has_ended(step) and self.should_stop():
            self._write()
            raise TrainingStoppedError(f"the training was asked to stop, and did at step {step}")

    def _evaluation_due(self, step: int) -> None:
        evaluation = self._evaluate(step)
        self._take(evaluation)
        if self.writer is not None and (self._has_ended(step) or self.writer.is_due()):
            self._write()
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

    def _write(self) -> None:
        if self.writer is None:
            return
        self.writer.write(
            Checkpoint(
                trainer=self.trainer.snapshot(),
                evaluations=tuple(self.evaluations),
                seconds=self.seconds(),
            )
        )

    def _evaluate(self, step: int) -> Evaluation:
        log_p = self.inference.log_probabilities(self.evaluated.tokens)
        examples = self.schedule.examples_after(step)
        return Evaluation(
            examples=examples,
            epoch=examples / self.schedule.num_rows,
            learning_rate=self.trainer._get_learning_rate(),
            train_loss=self.trainer.take_interval_loss(),
            **evaluate_probabilities(self.evaluated.labels, log_p, self.weights),
            seconds=self.seconds(),
        )

    def fixed_rows_loss(self) -> float:
        """Weighted loss of the fixed rows, dropout off."""
        log_p = self.inference.log_probabilities(self.fixed_rows.tokens)
        return weighted_loss(self.fixed_rows.labels, log_p, self.weights)
