"""One optimizer step: loss, clipping, AdamW.

The Trainer of Hugging Face is not used: on small models it makes a step a third longer, and its
step cannot be captured as a CUDA graph (`training.cuda_graphs`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import log_softmax, nll_loss
from torch.nn.utils import get_total_norm
from transformers import PreTrainedModel

from training.batches import Batch, to_device
from training.checkpoint import as_plain_values, generator_states, restore_generators
from training.config import TrainingConfig
from training.cuda_graphs import CapturedSteps
from training.device import autocast
from training.dropout import ModelDropout
from training.micro_batches import halve_on_out_of_memory, split_batch
from training.optimizer import GroupedAdamW


class OptimizerStep:
    """Trains a model one step at a time; the next training of the same model can reuse it.

    The loss is the weighted mean over all rows of a step: its divisor is the sum of the weights of
    the whole batch. Loss and gradients are therefore the same whether the batch passes through the
    model whole or in micro-batches.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        graphs: CapturedSteps | None = None,
        release_others: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the optimizer of a model.

        Args:
            model: returns logits [rows, num_labels]; it is on its device already.
            graphs: runs whole steps as CUDA graphs; None: steps run without graphs.
            release_others: frees the memory of other models; returns whether there was any.
        """
        self.model = model
        self.device = next(model.parameters()).device
        self._optimizer = GroupedAdamW(model, rates_in_tensors=graphs is not None)
        self._dropout = ModelDropout(model)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._graphs = graphs
        self._release_others = release_others
        precision = torch.promote_types(self._parameters[0].dtype, torch.float32)
        # A captured step reads these tensors: they are filled, never replaced.
        self._class_weights = torch.zeros(
            model.config.num_labels or 0, dtype=precision, device=self.device
        )
        self._label_smoothing = torch.zeros((), dtype=precision, device=self.device)
        self._max_grad_norm = torch.zeros((), device=self.device)
        self._interval_loss = torch.zeros((), device=self.device)
        self._decays_separately = False
        self._smooths_labels = False
        self._weight_decay: float | None = None
        self._interval_steps = 0
        self._bfloat16 = False
        self._micro_batch_size = 1
        self._on_micro_batch_size: Callable[[int], None] = lambda _: None

    def start(
        self,
        training: TrainingConfig,
        class_weights: npt.NDArray[np.float64],
        *,
        bfloat16: bool,
        micro_batch_size: int | None = None,
        on_micro_batch_size: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start a training: reset the optimizer and take the hyperparameters.

        Args:
            training: the hyperparameters.
            class_weights: float64 [num_labels].
            bfloat16: whether the forward pass computes in bfloat16.
            micro_batch_size: most rows that pass through the model at once; None: whole batches.
            on_micro_batch_size: called with the new size when memory ran out and it was lowered.
        """
        assert micro_batch_size is None or micro_batch_size >= 1, micro_batch_size
        self._optimizer.reset_state()
        self._optimizer.adamw.zero_grad(set_to_none=True)
        has_new_groups = self._optimizer.group_for(training)
        self._set_weight_decay(training.weight_decay)
        self._dropout.set(training.dropout)
        smooths_first = training.label_smoothing > 0 and not self._smooths_labels
        self._smooths_labels |= smooths_first
        self._label_smoothing.fill_(training.label_smoothing)
        if self._graphs is not None:
            if has_new_groups or smooths_first or bfloat16 != self._bfloat16:
                self._graphs.forget()
            self._graphs.serve(dropout=training.dropout)
        self._bfloat16 = bfloat16
        self._class_weights.copy_(torch.from_numpy(class_weights))
        self._max_grad_norm.fill_(training.max_grad_norm)
        self._interval_loss.zero_()
        self._interval_steps = 0
        self._micro_batch_size = micro_batch_size or training.batch_size
        self._on_micro_batch_size = on_micro_batch_size
        self.model.train()

    def step(self, batch: Batch, *, learning_rate: float) -> None:
        """Take one step; if memory runs out, repeat it with smaller micro-batches.

        Args:
            batch: `input_ids` and `attention_mask`, int64 [rows, length], and `labels`,
                int64 [rows], on the CPU.
            learning_rate: of this step.

        Raises:
            torch.OutOfMemoryError: a single row does not fit into memory.
        """
        self._optimizer.set_learning_rate(learning_rate)
        if self._decays_separately:
            self._optimizer.set_shares(learning_rate, self._weight_decay or 0.0)
        self._interval_steps += 1
        rows = len(batch["labels"])
        if self._graphs is not None and rows <= self._micro_batch_size:
            self._graphs.run(batch, step=self._step_whole, plain=self._step_in_micro_batches)
        else:
            self._step_in_micro_batches(batch)

    def take_interval_loss(self) -> float:
        """Return the mean loss of the steps since the last call; NaN if there was no step."""
        loss = float(self._interval_loss) / self._interval_steps if self._interval_steps else None
        self._interval_loss.zero_()
        self._interval_steps = 0
        return float("nan") if loss is None else loss

    def snapshot(self) -> dict[str, Any]:
        """Return all state that the next steps depend on; the tensors are not copied."""
        return {
            "weights": self.model.state_dict(),
            "optimizer": self._optimizer.snapshot(),
            "generators": as_plain_values(generator_states(self.device)),
            "interval_loss": self._interval_loss,
            "interval_steps": self._interval_steps,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Restore a snapshot; `start` was called before with the same hyperparameters."""
        self.load_weights(snapshot)
        if self._graphs is not None:
            self._graphs.forget()  # they refer to the former memory of the state
        self._optimizer.restore(snapshot["optimizer"])
        restore_generators(snapshot["generators"], self.device)
        self._interval_loss.copy_(snapshot["interval_loss"])
        self._interval_steps = snapshot["interval_steps"]

    def load_weights(self, snapshot: Mapping[str, Any]) -> None:
        """Restore the weights of a snapshot, and nothing else."""
        self.model.load_state_dict(snapshot["weights"])

    def release(self) -> bool:
        """Free the memory of other models, or else of all graphs for good; return if any."""
        if self._release_others():
            return True
        return self._graphs is not None and self._graphs.give_up()

    def end(self) -> None:
        """End the training: free what only its steps need."""
        self._optimizer.adamw.zero_grad(set_to_none=True)

    def _set_weight_decay(self, value: float) -> None:
        has_changed = self._weight_decay not in (None, value)
        if self._graphs is not None and has_changed and not self._decays_separately:
            # The optimizer's own decay is a plain number, which is constant in a graph.
            self._decays_separately = True
            self._graphs.forget()
        self._weight_decay = value
        self._optimizer.set_weight_decay(0.0 if self._decays_separately else value)

    def _step_whole(self, batch: Batch) -> None:
        """Take one step with the whole batch in one forward pass."""
        self._update(self._backward([batch]))

    def _step_in_micro_batches(self, batch: Batch) -> None:
        """Take one step; lower the micro-batch size for good where memory runs out."""
        generators = generator_states(self.device)
        self._optimizer.adamw.zero_grad(set_to_none=True)  # of a failed capture

        def retry_with(size: int) -> None:
            self._optimizer.adamw.zero_grad(set_to_none=True)
            restore_generators(generators, self.device)
            if size < min(self._micro_batch_size, len(batch["labels"])):
                self._micro_batch_size = size
                self._on_micro_batch_size(size)

        loss = halve_on_out_of_memory(
            lambda size: self._backward(split_batch(batch, size=size)),
            size=min(self._micro_batch_size, len(batch["labels"])),
            on_retry=retry_with,
            name="a training step",
            release=self.release,
        )
        self._update(loss)

    def _backward(self, micro_batches: Sequence[Batch]) -> torch.Tensor:
        """Accumulate the gradients of one step and return its loss, float32 []."""
        micro_batches = [to_device(batch, self.device) for batch in micro_batches]
        labels = torch.cat([batch["labels"] for batch in micro_batches])
        divisor = self._class_weights[labels].sum()
        losses = []
        for batch in micro_batches:
            loss = self._summed_loss(batch) / divisor
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _summed_loss(self, batch: Batch) -> torch.Tensor:
        inputs = {name: values for name, values in batch.items() if name != "labels"}
        with autocast(self.device, bfloat16=self._bfloat16, keeps_casts=False):
            logits = self.model(**inputs).logits
        log_p = log_softmax(logits.to(self._class_weights.dtype), dim=-1)
        loss = nll_loss(log_p, batch["labels"], weight=self._class_weights, reduction="sum")
        if not self._smooths_labels:
            return loss
        # A row keeps the weight of its label. `cross_entropy` of torch weights the smoothed share
        # by class instead, which favours rare classes in every row: with balanced weights a
        # smoothing of 0.1 lost 10 points, and 0.2 lost 30 (training/README.md).
        even = -(self._class_weights[batch["labels"]] * log_p.mean(dim=-1)).sum()
        return loss + self._label_smoothing * (even - loss)

    def _update(self, loss: torch.Tensor) -> None:
        """Clip the gradients, update the weights and record the loss.

        AdamW divides the gradients by its `grad_scale` as it reads them, so that clipping needs no
        pass of its own over them.
        """
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        # The inverse of the factor in torch's `clip_grads_with_norm_`.
        scale = ((norm + 1e-6) / self._max_grad_norm).clamp(min=1.0)
        adamw = self._optimizer.adamw
        adamw.grad_scale = scale.float()  # type: ignore[attr-defined]  # torch's GradScaler sets it
        if self._decays_separately:
            self._optimizer.decay()
        adamw.step()
        adamw.zero_grad(set_to_none=True)
        self._interval_loss += loss
