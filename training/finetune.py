"""One fine-tuning: the same function runs a trial, a confirmation and the final retrain."""

import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from training.checkpoint import Checkpoint, CheckpointFile, fingerprint_of
from training.config import ModelConfig, TrainingConfig
from training.inference import log_probabilities
from training.metrics import Evaluation, constant_f1_macro, evaluate_probabilities, weighted_loss
from training.model import TokenizerFacts, build_model
from training.schedule import Schedule, num_warmup_steps, schedule_of
from training.stopping import EarlyStopping
from training.tokens import LabelledTokens
from training.trainer import WeightedTrainer, training_arguments, uses_bfloat16
from training.weights import class_weights

logger = logging.getLogger(__name__)

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
    """Spent on the training, those before a break among them."""
    fixed_rows_loss: float
    """Weighted loss of the first training rows at the end, dropout off."""


def finetune(
    task: Task,
    training: TrainingConfig,
    *,
    evaluate_at: Sequence[int],
    on_evaluation: Callable[[Evaluation], None] = lambda _: None,
    stop_early_after: int | None = None,
    checkpoint: Path | None = None,
    wants_checkpoint: Callable[[], bool] = lambda: False,
) -> FineTuned:
    """Fine-tune `task.model` on `task.train`, the schedule spanning the full budget.

    With a `checkpoint`, a training that was killed at any moment goes on from its last checkpoint
    and ends, on CPU, with the curve and the weights of one without a break, to the last bit. A
    checkpoint is written when an evaluation is made and before it is told, so that no evaluation
    is ever made twice and, as those of the checkpoint are told again, none is left untold.

    Args:
        task: rows, model and labels. Without validation rows, evaluations look at the fixed
            training rows.
        training: hyperparameters and seed.
        evaluate_at: training rows seen at which to evaluate, each at the first step at or after.
        on_evaluation: called with each evaluation as it is made, after a break first with those
            before it; may raise to end the training.
        stop_early_after: training rows seen before which early stopping never counts (it also
            waits for the warm-up); None: no early stopping.
        checkpoint: directory of this training's own for its one checkpoint, the caller's to
            remove; None: none is kept. One of another training, or a damaged one, is not used.
        wants_checkpoint: asked after each step without an evaluation whether to write a
            checkpoint there; may raise to end the training.

    Raises:
        InputError: the model cannot be loaded, or does not fit the rows.
        OSError: the directory of the checkpoint cannot be written.
    """
    schedule = schedule_of(training, len(task.train))
    model = build_model(
        task.model, labels=task.labels, tokenizer=task.tokenizer, seed=training.seed
    )
    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    steps = frozenset(schedule.step_at(examples) for examples in evaluate_at)
    file = None
    if checkpoint is not None:
        looks = {"steps": sorted(steps), "stop_early_after": stop_early_after}
        file = CheckpointFile(
            directory=checkpoint, fingerprint=_fingerprint(task, training, looks, model)
        )
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
            steps=steps,
            on_evaluation=on_evaluation,
            early_stopping=_early_stopping(task, training, schedule, stop_early_after),
            file=file,
            wants_checkpoint=wants_checkpoint,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(watch)
        examples = watch.train()
    return FineTuned(
        model=model,
        outcome=watch.outcome,
        evaluations=tuple(watch.evaluations),
        examples=examples,
        seconds=watch.seconds(),
        fixed_rows_loss=watch.fixed_rows_loss(),
    )


def _fingerprint(
    task: Task, training: TrainingConfig, looks: dict[str, Any], model: PreTrainedModel
) -> str:
    parts = [part for part in (task.train, task.validation) if part is not None]
    return fingerprint_of(
        {
            **looks,
            "model": task.model.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "tokenizer": asdict(task.tokenizer),
            "labels": list(task.labels),
            # Another version may want another state of the optimizer or the Trainer.
            "versions": [str(torch.__version__), transformers.__version__],
        },
        [array for part in parts for array in (*vars(part.tokens).values(), part.labels)],
        model.state_dict(),
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
    file: CheckpointFile | None
    wants_checkpoint: Callable[[], bool]
    outcome: Outcome = "completed"
    evaluations: list[Evaluation] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return time.monotonic() - self._started

    def train(self) -> int:
        """Train, from the checkpoint if there is one, and return the training rows seen."""
        found = self.file.read() if self.file is not None else None
        if found is None:
            self.trainer.train()
            return self.schedule.examples_after(self.trainer.state.global_step)
        self._started -= found.seconds
        step = found.trainer["state"]["global_step"]
        examples = self.schedule.examples_after(step)
        logger.info("going on from a checkpoint at epoch %.2f", examples / len(self.task.train))
        for evaluation in found.evaluations:
            self._take(evaluation)
            self.on_evaluation(evaluation)
        # The Trainer would take one more step if it were told to go on from an end.
        if self.outcome != "completed" or step >= self.schedule.total_steps:
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
        if state.global_step in self.steps:
            evaluation = self._evaluate(state.global_step)
            self._take(evaluation)
            self._write()
            self.on_evaluation(evaluation)
            control.should_training_stop |= self.outcome != "completed"
        elif self.wants_checkpoint():
            self._write()

    def _take(self, evaluation: Evaluation) -> None:
        """Note an evaluation and what it means; after a break with all those before it."""
        self.evaluations.append(evaluation)
        if not evaluation.is_finite:
            self.outcome = "diverged"
        elif self.early_stopping is not None and self.early_stopping.should_stop(evaluation):
            at_the_end = evaluation.examples >= self.schedule.budget
            self.outcome = "completed" if at_the_end else "stopped early"

    def _write(self) -> None:
        if self.file is None:
            return
        self.file.write(
            Checkpoint(
                trainer=self.trainer.snapshot(),
                evaluations=tuple(self.evaluations),
                seconds=self.seconds(),
            )
        )

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
