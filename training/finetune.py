"""One fine-tuning: the same function runs a trial, a confirmation and the final retrain."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from training.config import ModelConfig, TrainingConfig
from training.inference import log_probabilities
from training.metrics import Evaluation, constant_f1_macro, evaluate_probabilities, weighted_loss
from training.model import TokenizerFacts, build_model
from training.schedule import Schedule, num_warmup_steps, schedule_of
from training.stopping import EarlyStopping
from training.tokens import LabelledTokens
from training.trainer import WeightedTrainer, training_arguments, uses_bfloat16
from training.weights import class_weights

NUM_FIXED_ROWS = 512
"""Training rows, the first ones, whose loss tells whether a retrain learnt what a trial did."""

Outcome = Literal["completed", "stopped early", "diverged"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt: rows, model and label names; the same for every trial of a search."""

    train: LabelledTokens
    validation: LabelledTokens | None
    model: ModelConfig
    tokenizer: TokenizerFacts
    labels: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """The end of a fine-tuning."""

    model: PreTrainedModel
    outcome: Outcome
    evaluations: Sequence[Evaluation]
    examples: int
    """Training rows seen, repeats counted."""
    seconds: float
    fixed_rows_loss: float
    """Weighted loss of the first training rows at the end, dropout off."""


def finetune(
    task: Task,
    training: TrainingConfig,
    *,
    evaluate_at: Sequence[int],
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
    stop_early_after: int | None = None,
) -> FineTuned:
    """Fine-tune `task.model` on `task.train`, the schedule spanning the full budget.

    Args:
        task: rows, model and labels. Without validation rows, evaluations look at the fixed
            training rows.
        training: hyperparameters and seed.
        evaluate_at: training rows seen at which to evaluate, each at the first step at or after.
        on_evaluation: called with each evaluation as it is made; may raise to end the training.
        stop_early_after: training rows seen before which early stopping never counts (it also
            waits for the warm-up); None: no early stopping.

    Raises:
        InputError: the model cannot be loaded, or does not fit the rows.
    """
    schedule = schedule_of(training, len(task.train))
    model = build_model(
        task.model, labels=task.labels, tokenizer=task.tokenizer, seed=training.seed
    )
    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = WeightedTrainer(
            model=model,
            args=training_arguments(training, schedule, output_dir=scratch),
            data=task.train,
            class_weights=torch.tensor(weights, dtype=torch.float32),
            pad_token_id=task.tokenizer.pad_token_id,
        )
        watch = _Watch(
            task=task,
            training=training,
            schedule=schedule,
            trainer=trainer,
            weights=weights,
            steps=frozenset(schedule.step_at(examples) for examples in evaluate_at),
            on_evaluation=on_evaluation,
            early_stopping=_early_stopping(task, training, schedule, stop_early_after),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        trainer.train()
    return FineTuned(
        model=model,
        outcome=watch.outcome,
        evaluations=tuple(watch.evaluations),
        examples=schedule.examples_after(trainer.state.global_step),
        seconds=watch.seconds(),
        fixed_rows_loss=watch.fixed_rows_loss(),
    )


def _early_stopping(
    task: Task, training: TrainingConfig, schedule: Schedule, after: int | None
) -> EarlyStopping | None:
    if after is None or task.validation is None:
        return None
    warmup = schedule.examples_after(num_warmup_steps(training, schedule))
    return EarlyStopping(
        patience=training.early_stopping_patience,
        after_examples=max(after, warmup),
        constant_score=constant_f1_macro(task.validation.labels, len(task.labels)),
    )


@dataclass(kw_only=True)
class _Watch(TrainerCallback):
    """Evaluates at the steps that are due and ends the training where it must."""

    task: Task
    training: TrainingConfig
    schedule: Schedule
    trainer: WeightedTrainer
    weights: npt.NDArray[np.float64]
    steps: frozenset[int]
    on_evaluation: Callable[[Evaluation], None]
    early_stopping: EarlyStopping | None
    outcome: Outcome = "completed"
    evaluations: list[Evaluation] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if state.global_step not in self.steps:
            return
        evaluation = self._evaluate(state.global_step)
        self.evaluations.append(evaluation)
        self.on_evaluation(evaluation)
        if not evaluation.is_finite:
            self.outcome = "diverged"
        elif self.early_stopping is not None and self.early_stopping.should_stop(evaluation):
            at_the_end = state.global_step >= self.schedule.total_steps
            self.outcome = "completed" if at_the_end else "stopped early"
        control.should_training_stop |= self.outcome != "completed"

    def _evaluate(self, step: int) -> Evaluation:
        rows = self.task.validation or self._fixed_rows()
        examples = self.schedule.examples_after(step)
        return Evaluation(
            examples=examples,
            epoch=examples / len(self.task.train),
            learning_rate=self.trainer._get_learning_rate(),
            train_loss=self.trainer.take_interval_loss(),
            **evaluate_probabilities(rows.labels, self._look(rows), self.weights),
            seconds=self.seconds(),
        )

    def fixed_rows_loss(self) -> float:
        rows = self._fixed_rows()
        return weighted_loss(rows.labels, self._look(rows), self.weights)

    def _fixed_rows(self) -> LabelledTokens:
        train = self.task.train
        return train.take(np.arange(min(NUM_FIXED_ROWS, len(train))))

    def _look(self, rows: LabelledTokens) -> npt.NDArray[np.float64]:
        model = self.trainer.model
        assert model is not None
        return log_probabilities(
            model,
            rows.tokens,
            batch_size=self.training.eval_batch_size,
            pad_token_id=self.task.tokenizer.pad_token_id,
            bfloat16=uses_bfloat16(self.training),
        )
