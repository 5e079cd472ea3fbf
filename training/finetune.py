"""Fine-tune one encoder: the training loop of a trial, a confirmation and the final retrain."""

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

NUM_FIXED_ROWS = 512
"""Number of training rows, the first ones, whose loss at the end of a trial and of its retrain is
compared: it shows whether both learnt the same."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learnt: rows, model and label names; the same for every trial of a search."""

    train: LabelledTokens
    validation: LabelledTokens | None
    model: ModelConfig
    tokenizer: TokenizerFacts
    labels: Sequence[str]
    encoder: Encoder | None = None
    """The model, if it has been read already; None: it is read from its location."""
    metric: str = DEFAULT_METRIC
    """`search.metric`, already checked."""

    @property
    def objective(self) -> Objective:
        """The objective that scores evaluations."""
        return objective(self.metric, self.labels)

    def read_encoder(self) -> Encoder:
        """Return the model before training.

        Raises:
            InputError: it cannot be loaded, or does not fit the rows.
        """
        return self.encoder or read_encoder(
            self.model, labels=self.labels, tokenizer=self.tokenizer
        )


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """The result of a fine-tuning."""

    model: PreTrainedModel
    outcome: Outcome
    evaluations: Sequence[Evaluation]
    examples: int
    """Training rows seen, repeats counted."""
    seconds: float
    """Duration of the training, including the time before it was resumed."""
    fixed_rows_loss: float
    """Weighted loss on the first training rows at the end, dropout off."""


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
    """Fine-tune `task.model` on `task.train`; the schedule always spans the full budget.

    With a `checkpoint`, a training that was killed at any moment is resumed from its last
    checkpoint. On CPU its curve and its weights are then those of an uninterrupted training, to
    the last bit. The first evaluation writes a checkpoint and so does the one that ends the
    training; in between, an evaluation writes one when `checkpoint_share` allows it. A checkpoint
    is written before its evaluation is reported. A resumed training reports the evaluations of the
    checkpoint again and repeats those that were made after it.

    Where device memory runs out, the step is repeated with micro-batches of half the size
    (`training.micro_batches`). This changes neither the rows nor the loss of the step, but dropout
    is sampled anew and sums are rounded differently. The rest of the training keeps that size.

    Args:
        task: rows, model and labels. Without validation rows, the fixed training rows are
            evaluated.
        training: hyperparameters and seed.
        evaluate_at: numbers of training rows seen; each evaluation is made at the first step at
            or after its number.
        on_evaluation: called with each evaluation; a resumed training calls it first with those
            of the checkpoint. It may raise to end the training.
        stop_early_after: number of training rows seen before which early stopping does not count
            (it also waits for the end of the warm-up); None: no early stopping.
        checkpoint: directory for the one checkpoint of this training, which the caller removes;
            None: no checkpoint is written. A damaged one, or one of another training, is ignored.
        checkpoint_share: largest share of the training's time that writing may take, above 0;
            1: every evaluation writes a checkpoint.
        on_checkpoint: called with the file after each write; its duration counts as writing. What
            it raises ends the training.
        should_stop: called after each step except the last; if it returns True, a checkpoint is
            written and the training ends with an error.
        micro_batch_size: most rows that pass through the model at once; None: whole batches.
        on_micro_batch_size: called with the new size when memory ran out and it was lowered.
        model_cache: keeps the built model for the next training in this process, which then
            changes the model of this result; None: nothing is kept.

    Raises:
        InputError: the model cannot be loaded, or does not fit the rows.
        CheckpointError: the checkpoint cannot be written; the one before it is intact.
        TrainingStoppedError: `should_stop` returned True.
        torch.OutOfMemoryError: a single row does not fit into memory.
    """
    assert 0 < checkpoint_share <= 1, checkpoint_share
    schedule = schedule_of(training, len(task.train))
    encoder = task.read_encoder()
    weights = class_weights(task.train.labels, len(task.labels), training.class_weights)
    fixed_rows = task.train.take(np.arange(min(NUM_FIXED_ROWS, len(task.train))))
    evaluation_steps = frozenset(schedule.step_at(examples) for examples in evaluate_at)
    bfloat16 = uses_bfloat16(training)
    writer = None
    if checkpoint is not None:
        plan = {"steps": sorted(evaluation_steps), "stop_early_after": stop_early_after}
        fingerprint = _fingerprint(task, training, plan, encoder)
        writer = CheckpointWriter(
            file=CheckpointFile(directory=checkpoint, fingerprint=fingerprint),
            share=checkpoint_share,
            on_checkpoint=on_checkpoint,
        )
    borrowed = (model_cache or ModelCache()).borrow(
        encoder,
        seed=training.seed,
        most_tokens=task.model.max_length,
        padding=task.tokenizer.padding,
        captures=training.cuda_graphs,
    )
    with borrowed as optimizer_step:
        optimizer_step.start(
            training,
            weights,
            bfloat16=bfloat16,
            micro_batch_size=micro_batch_size,
            on_micro_batch_size=on_micro_batch_size,
        )
        loop = TrainingLoop(
            training=training,
            schedule=schedule,
            train=task.train,
            padding=task.tokenizer.padding,
            optimizer_step=optimizer_step,
            inference=Inference(
                model=optimizer_step.model,
                batch_size=training.eval_batch_size,
                padding=task.tokenizer.padding,
                bfloat16=bfloat16,
                release=optimizer_step.release,
            ),
            class_weights=weights,
            evaluation_steps=evaluation_steps,
            objective=task.objective,
            evaluated=task.validation or fixed_rows,
            on_evaluation=on_evaluation,
            early_stopping=_early_stopping(task, training, schedule, stop_early_after),
            writer=writer,
            should_stop=should_stop,
        )
        examples = loop.run()
        return FineTuned(
            model=optimizer_step.model,
            outcome=loop.outcome,
            evaluations=tuple(loop.evaluations),
            examples=examples,
            seconds=loop.seconds(),
            fixed_rows_loss=loop.weighted_loss(fixed_rows),
        )


@dataclass(kw_only=True)
class TrainingLoop:
    """Steps, evaluations, checkpoints and the end of one training."""

    training: TrainingConfig
    schedule: Schedule
    train: LabelledTokens
    padding: Padding
    optimizer_step: OptimizerStep
    inference: Inference
    class_weights: npt.NDArray[np.float64]
    """float64 [num_labels]."""
    evaluation_steps: frozenset[int]
    """Steps after which an evaluation is made."""
    objective: Objective
    """The objective that scores evaluations."""
    evaluated: LabelledTokens
    """Rows to evaluate on."""
    on_evaluation: Callable[[Evaluation], None]
    early_stopping: EarlyStopping | None
    writer: CheckpointWriter | None
    """None: no checkpoint is written."""
    should_stop: Callable[[], bool]
    outcome: Outcome = "completed"
    evaluations: list[Evaluation] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> int:
        """Train, from the checkpoint if there is one, and return the training rows seen."""
        found = self.writer.file.read() if self.writer is not None else None
        step = self._resume(found) if found is not None else 0
        if not self._has_ended(step):
            batches = training_batches(
                self.train,
                schedule=self.schedule,
                seed=self.training.seed,
                padding=self.padding,
                first_step=step,
            )
            for batch in batches:
                rate = learning_rate_after(step, self.training, self.schedule)
                self.optimizer_step.step(batch, learning_rate=rate)
                step += 1
                if step in self.evaluation_steps:
                    self._evaluate_and_report(step)
                if self._has_ended(step):
                    break
                self._stop_if_asked(step)
        return self.schedule.examples_after(step)

    def seconds(self) -> float:
        """Return the duration of the training so far, including the time before it was resumed."""
        return time.monotonic() - self._started

    def weighted_loss(self, rows: LabelledTokens) -> float:
        """Return the class-weighted loss on `rows`, dropout off."""
        log_p = self.inference.log_probabilities(rows.tokens)
        return weighted_loss(rows.labels, log_p, self.class_weights)

    def _resume(self, found: Checkpoint) -> int:
        """Restore a checkpoint and return the number of steps made before it."""
        self._started -= found.seconds
        epochs = self.schedule.examples_after(found.step) / self.schedule.num_rows
        logger.info("resuming from a checkpoint at epoch %.2f", epochs)
        for evaluation in found.evaluations:
            self._record(evaluation)
            self.on_evaluation(evaluation)
        if self._has_ended(found.step):
            self.optimizer_step.load_weights(found.state)
        else:
            self.optimizer_step.restore(found.state)
        found.state.clear()  # frees its memory for the rest of the training
        return found.step

    def _evaluate_and_report(self, step: int) -> None:
        evaluation = self._evaluate(step)
        self._record(evaluation)
        if self.writer is not None and (self._has_ended(step) or self.writer.is_due()):
            self._write_checkpoint(step)
        self.on_evaluation(evaluation)

    def _evaluate(self, step: int) -> Evaluation:
        log_p = self.inference.log_probabilities(self.evaluated.tokens)
        self.optimizer_step.model.train()
        examples = self.schedule.examples_after(step)
        return Evaluation(
            examples=examples,
            epoch=examples / self.schedule.num_rows,
            learning_rate=learning_rate_after(step, self.training, self.schedule),
            train_loss=self.optimizer_step.take_interval_loss(),
            **evaluate_probabilities(
                self.evaluated.labels, log_p, self.class_weights, self.objective
            ),
            seconds=self.seconds(),
        )

    def _record(self, evaluation: Evaluation) -> None:
        """Keep an evaluation and update the outcome."""
        self.evaluations.append(evaluation)
        if not evaluation.is_finite:
            self.outcome = "diverged"
        elif self.early_stopping is not None and self.early_stopping.should_stop(evaluation):
            at_the_end = evaluation.examples >= self.schedule.budget
            self.outcome = "completed" if at_the_end else "stopped early"

    def _has_ended(self, step: int) -> bool:
        return self.outcome != "completed" or step >= self.schedule.total_steps

    def _stop_if_asked(self, step: int) -> None:
        if self.should_stop():
            if self.writer is not None:
                self._write_checkpoint(step)
            raise TrainingStoppedError(f"the training was stopped on request at step {step}")

    def _write_checkpoint(self, step: int) -> None:
        assert self.writer is not None
        self.writer.write(
            Checkpoint(
                step=step,
                state=self.optimizer_step.snapshot(),
                evaluations=tuple(self.evaluations),
                seconds=self.seconds(),
            )
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


def _fingerprint(
    task: Task, training: TrainingConfig, plan: dict[str, Any], encoder: Encoder
) -> str:
    """Return the digest of everything that determines the training; `plan`: its evaluations."""
    parts = [part for part in (task.train, task.validation) if part is not None]
    return fingerprint_of(
        {
            **plan,
            "model": task.model.model_dump(mode="json"),
            "encoder": encoder.digest,
            "training": training.model_dump(mode="json"),
            "tokenizer": asdict(task.tokenizer),
            "labels": list(task.labels),
            "metric": task.metric,
            # Another version may initialise weights differently, or need another state.
            "versions": [str(torch.__version__), transformers.__version__],
        },
        [array for part in parts for array in (*vars(part.tokens).values(), part.labels)],
    )
