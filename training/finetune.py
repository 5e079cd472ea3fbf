"""One fine-tuning: the same function runs a trial, a confirmation and the final retrain."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import PreTrainedModel

from training.batches import Padding, training_batches
from training.checkpoint import (
    CHECKPOINT_SHARE,
    Checkpoint,
    CheckpointFile,
    CheckpointWriter,
    fingerprint_of,
)
from training.config import ModelConfig, TrainingConfig
from training.device import uses_bfloat16
from training.encoder import Encoder, read_encoder
from training.errors import TrainingStoppedError
from training.inference import Inference
from training.metrics import Evaluation, class_weights, evaluate_probabilities, weighted_loss
from training.model import TokenizerFacts
from training.model_cache import ModelCache
from training.objective import DEFAULT_METRIC, Objective, objective
from training.optimizer_step import OptimizerStep
from training.schedule import (
    EarlyStopping,
    Schedule,
    learning_rate_after,
    num_warmup_steps,
    schedule_of,
)
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
    optimizer_step: OptimizerStep
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
                self.optimizer_step.step(batch, learning_rate=rate)
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
            self.optimizer_step.load_weights(found.state)
        else:
            self.optimizer_step.restore(found.state)
        step = found.step
        found.state.clear()  # its memory is free for the rest of the training
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
                state=self.optimizer_step.snapshot(),
                evaluations=tuple(self.evaluations),
                seconds=self.seconds(),
            )
        )

    def _evaluate(self, step: int) -> Evaluation:
        log_p = self.inference.log_probabilities(self.evaluated.tokens)
        self.optimizer_step.model.train()
        examples = self.schedule.examples_after(step)
        return Evaluation(
            examples=examples,
            epoch=examples / self.schedule.num_rows,
            learning_rate=learning_rate_after(step, self.training, self.schedule),
            train_loss=self.optimizer_step.take_interval_loss(),
            **evaluate_probabilities(self.evaluated.labels, log_p, self.weights, self.objective),
            seconds=self.seconds(),
        )

    def fixed_rows_loss(self) -> float:
        """Weighted loss of the fixed rows, dropout off."""
        log_p = self.inference.log_probabilities(self.fixed_rows.tokens)
        return weighted_loss(self.fixed_rows.labels, log_p, self.weights)


NUM_FIXED_ROWS = 512
"""Training rows, the first ones, whose loss tells whether a retrain learnt what a trial did."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt: rows, model and label names; the same for every trial of a search."""

    train: LabelledTokens
    validation: LabelledTokens | None
    model: ModelConfig
    tokenizer: TokenizerFacts
    labels: Sequence[str]
    encoder: Encoder | None = None
    """The model as it was read before; None: it is read from its place."""
    metric: str = DEFAULT_METRIC
    """`search.metric`, checked."""

    @property
    def objective(self) -> Objective:
        """What evaluations are scored by."""
        return objective(self.metric, self.labels)

    def read_encoder(self) -> Encoder:
        """The model as it is before training.

        Raises:
            InputError: it cannot be loaded, or does not fit the rows.
        """
        return self.encoder or read_encoder(
            self.model, labels=self.labels, tokenizer=self.tokenizer
        )


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
    checkpoint_share: float = CHECKPOINT_SHARE,
    on_checkpoint: Callable[[Path], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    micro_batch_size: int | None = None,
    on_micro_batch_size: Callable[[int], None] = lambda _: None,
    model_cache: ModelCache | None = None,
) -> FineTuned:
    """Fine-tune `task.model` on `task.train`, the schedule spanning the full budget.

    With a `checkpoint`, a training that was killed at any moment goes on from its last checkpoint
    and ends, on CPU, with the curve and the weights of one without a break, to the last bit. The
    first evaluation writes one, the one that ends the training too, so that what waits to be taken
    over is not trained again; others do where the time since the last write makes it cheap. It is
    written before the evaluation is told; those of a checkpoint are told again, and those between
    it and a kill are made again.

    Where device memory runs out, the same step is made again in passes of half as many rows, which
    changes neither its rows nor its loss (dropout draws anew, and sums round otherwise); that
    number holds for the rest.

    Args:
        task: rows, model and labels. Without validation rows, evaluations look at the fixed
            training rows.
        training: hyperparameters and seed.
        evaluate_at: training rows seen at which to evaluate, each at the first step at or after.
        on_evaluation: called with each evaluation as it is made, after a break first with those
            of the checkpoint; may raise to end the training.
        stop_early_after: training rows seen before which early stopping never counts (it also
            waits for the warm-up); None: no early stopping.
        checkpoint: directory of this training's own for its one checkpoint, the caller's to
            remove; None: none is kept. One of another training, or a damaged one, is not used.
        checkpoint_share: most of the training's time that writing may take, above 0; 1: every
            evaluation writes.
        on_checkpoint: called with the file each time one was written, its time being the
            write's; what it raises ends the training.
        should_stop: asked after each step but one that ends the training; True: a checkpoint is
            written there and the training ends by an error.
        micro_batch_size: most rows of one pass through the model in training; None: whole batches.
        on_micro_batch_size: told the number when memory ran out and it was lowered.
        model_cache: keeps the built model for the next training in this process, which then changes
            that of the result; None: nothing is kept.

    Raises:
        InputError: the model cannot be loaded, or does not fit the rows.
        CheckpointError: the checkpoint cannot be written; the former one is whole.
        TrainingStoppedError: `should_stop` said so.
        torch.OutOfMemoryError: not even one row at a time fits.
    """
    assert 0 < checkpoint_share <= 1, checkpoint_share
    schedule = schedule_of(training, len(task.train))
    encoder = task.read_encoder()
    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    fixed_rows = task.train.take(np.arange(min(NUM_FIXED_ROWS, len(task.train))))
    steps = frozenset(schedule.step_at(examples) for examples in evaluate_at)
    writer = None
    if checkpoint is not None:
        looks = {"steps": sorted(steps), "stop_early_after": stop_early_after}
        writer = CheckpointWriter(
            file=CheckpointFile(
                directory=checkpoint, fingerprint=_fingerprint(task, training, looks, encoder)
            ),
            share=checkpoint_share,
            on_checkpoint=on_checkpoint,
        )
    bfloat16 = uses_bfloat16(training)
    lent = (model_cache or ModelCache()).borrow(
        encoder,
        seed=training.seed,
        most_tokens=task.model.max_length,
        padding=task.tokenizer.padding,
        captures=training.cuda_graphs,
    )
    with lent as optimizer_step:
        optimizer_step.start(
            training,
            weights,
            bfloat16=bfloat16,
            micro_batch_size=micro_batch_size,
            on_micro_batch_size=on_micro_batch_size,
        )
        course = Course(
            training=training,
            schedule=schedule,
            data=task.train,
            padding=task.tokenizer.padding,
            optimizer_step=optimizer_step,
            inference=Inference(
                model=optimizer_step.model,
                batch_size=training.eval_batch_size,
                padding=task.tokenizer.padding,
                bfloat16=bfloat16,
                release=optimizer_step.release,
            ),
            weights=weights,
            steps=steps,
            objective=task.objective,
            evaluated=task.validation or fixed_rows,
            fixed_rows=fixed_rows,
            on_evaluation=on_evaluation,
            early_stopping=_early_stopping(task, training, schedule, stop_early_after),
            writer=writer,
            should_stop=should_stop,
        )
        examples = course.train()
        return FineTuned(
            model=optimizer_step.model,
            outcome=course.outcome,
            evaluations=tuple(course.evaluations),
            examples=examples,
            seconds=course.seconds(),
            fixed_rows_loss=course.fixed_rows_loss(),
        )


def _fingerprint(
    task: Task, training: TrainingConfig, looks: dict[str, Any], encoder: Encoder
) -> str:
    parts = [part for part in (task.train, task.validation) if part is not None]
    return fingerprint_of(
        {
            **looks,
            "model": task.model.model_dump(mode="json"),
            "encoder": encoder.digest,
            "training": training.model_dump(mode="json"),
            "tokenizer": asdict(task.tokenizer),
            "labels": list(task.labels),
            "metric": task.metric,
            # Another version may draw other initial weights, or want another state.
            "versions": [str(torch.__version__), transformers.__version__],
        },
        [array for part in parts for array in (*vars(part.tokens).values(), part.labels)],
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
        constant_score=task.objective.constant_score(task.validation.labels),
    )
