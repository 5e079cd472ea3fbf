"""The Trainer of Hugging Face with class weights, our order of rows and no output of its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.trainer import TRAINER_STATE_NAME

from training.batches import Batch, EpochDataLoader, cut, training_loader
from training.checkpoint import generator_states, restore_generators
from training.config import TrainingConfig
from training.memory import fitting
from training.schedule import Schedule, num_warmup_steps
from training.tokens import LabelledTokens


class WeightedTrainer(Trainer):
    """Class-weighted cross-entropy: the weighted mean over all rows of an optimizer step.

    The divisor is the sum of the weights of the whole step, so the loss and its gradient are the
    same whether a step's rows pass through the model at once or, where device memory is short, in
    several passes.
    """

    # `compute_loss` divides by the weights of the whole step already.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        args: TrainingArguments,
        data: LabelledTokens,
        class_weights: torch.Tensor,
        pad_token_id: int,
        rows_at_once: int | None = None,
        on_rows_at_once: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take what is trained, how, and how much of a batch the device holds.

        Args:
            model: gives logits [rows, num_labels].
            args: of `training_arguments`.
            data: the training rows.
            class_weights: float32 [num_labels].
            pad_token_id: of the model's tokenizer.
            rows_at_once: most rows of one pass through the model; None: the whole batch.
            on_rows_at_once: told the number when memory ran out and it was lowered.
        """
        super().__init__(model=model, args=args, train_dataset=range(len(data)))
        assert rows_at_once is None or rows_at_once >= 1, rows_at_once
        self._data = data
        self._pad_token_id = pad_token_id
        self.class_weights = class_weights.to(args.device)
        self._interval_loss = torch.zeros((), device=args.device)
        self._interval_steps = 0
        self._snapshot: dict[str, Any] = {}
        self._rows_at_once = rows_at_once or args.per_device_train_batch_size
        self._on_rows_at_once = on_rows_at_once

    def get_train_dataloader(self) -> EpochDataLoader:
        """Batches of rows of like length, in an order of seed and epoch alone."""
        return training_loader(
            self._data,
            batch_size=self.args.per_device_train_batch_size,
            seed=self.args.seed,
            pad_token_id=self._pad_token_id,
        )

    def _get_num_items_in_batch(
        self, batch_samples: list[Batch], device: torch.device
    ) -> torch.Tensor | None:
        """Sum of the class weights of all rows of one optimizer step."""
        if not batch_samples:
            return None
        labels = torch.cat([batch["labels"] for batch in batch_samples]).to(device)
        self._interval_steps += 1
        return self.class_weights[labels].sum()

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Gradients and loss of one step; where memory runs out, made again in smaller passes.

        Raises:
            torch.OutOfMemoryError: not even one row fits.
        """
        generators = generator_states(self.args.device)

        def begin_again(rows: int) -> None:
            model.zero_grad(set_to_none=True)
            restore_generators(generators, self.args.device)
            self._rows_at_once = rows
            self._on_rows_at_once(rows)

        loss = fitting(
            lambda rows: self._passes(model, cut(inputs, rows=rows), num_items_in_batch),
            rows=min(self._rows_at_once, len(inputs["labels"])),
            on_fewer=begin_again,
            name="a training step",
        )
        self._interval_loss += loss
        return loss

    def _passes(
        self, model: torch.nn.Module, parts: list[Batch], divisor: torch.Tensor | int | None
    ) -> torch.Tensor:
        assert divisor is not None  # that of one part would not be the step's
        losses = [
            super(WeightedTrainer, self).training_step(model, part, divisor) for part in parts
        ]
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, SequenceClassifierOutput]:
        """Weighted sum over the rows of `inputs`, over the weights of the whole step.

        Args:
            model: takes `input_ids` and `attention_mask`, gives logits [rows, num_labels].
            inputs: int64 [rows, length] each, and `labels`, int64 [rows].
            return_outputs: whether the model's outputs come too.
            num_items_in_batch: sum of the class weights of the step's rows; without it, of these.
        """
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        summed = cross_entropy(
            outputs.logits.float(), labels, weight=self.class_weights, reduction="sum"
        )
        if num_items_in_batch is None:
            num_items_in_batch = self.class_weights[labels].sum()
        loss = summed / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def take_interval_loss(self) -> float:
        """Mean training loss of the steps since the last call; NaN if there was none."""
        loss = float(self._interval_loss) / self._interval_steps if self._interval_steps else None
        self._interval_loss.zero_()
        self._interval_steps = 0
        return float("nan") if loss is None else loss

    def snapshot(self) -> dict[str, Any]:
        """All that the rest of the training depends on, between two steps; nothing is copied."""
        assert isinstance(self.model, torch.nn.Module)
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.lr_scheduler.state_dict(),
            "generators": generator_states(self.args.device),
            "state": asdict(self.state),
            "interval_loss": self._interval_loss,
            "interval_steps": self._interval_steps,
        }

    def go_on(self, snapshot: dict[str, Any]) -> None:
        """Train on from where `snapshot` was taken; it is emptied, so that its memory is free.

        On CPU the weights at the end are, to the last bit, those of a training without a break.
        """
        self._snapshot = snapshot
        self._interval_loss.copy_(snapshot["interval_loss"])
        self._interval_steps = snapshot["interval_steps"]
        assert self.args.output_dir is not None
        state = Path(self.args.output_dir) / TRAINER_STATE_NAME
        state.write_text(json.dumps(snapshot["state"]), encoding="utf-8")
        self.train(resume_from_checkpoint=self.args.output_dir)

    # The Trainer's resume calls the next three when each is due, and would read files there.

    def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self.load_weights(self._snapshot)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            self.optimizer.load_state_dict(self._snapshot["optimizer"])
            self.lr_scheduler.load_state_dict(self._snapshot["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_generators(self._snapshot["generators"], self.args.device)
            self._snapshot.clear()  # this one is called last

    def load_weights(self, snapshot: Mapping[str, Any]) -> None:
        """Set the model to what it was when `snapshot` was taken."""
        assert isinstance(self.model, torch.nn.Module)
        self.model.load_state_dict(snapshot["weights"])


def training_arguments(
    training: TrainingConfig, schedule: Schedule, *, output_dir: str
) -> TrainingArguments:
    """Arguments for the Trainer: AdamW, linear schedule with warm-up over the full budget."""
    arguments = TrainingArguments(
        output_dir=output_dir,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        warmup_steps=num_warmup_steps(training, schedule),
        lr_scheduler_type="linear",
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=uses_bfloat16(training),
        use_cpu=not torch.cuda.is_available(),
        seed=training.seed,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    # Several cards would silently multiply the batch size; a trial has one.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def uses_bfloat16(training: TrainingConfig) -> bool:
    """Whether the forward pass runs in bfloat16: asked for, or `auto` on a GPU that has it."""
    if training.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return training.precision == "bfloat16"
