"""Steps of the optimizer: class-weighted loss, gradients, clipping, AdamW.

A loop of our own, not the Trainer of Hugging Face: on small models that one adds a third to a
step, and its step cannot be captured as a CUDA graph (`training.cuda_graphs`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import get_total_norm
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from training.batches import Batch, to_device
from training.checkpoint import as_plain_values, generator_states, restore_generators
from training.config import TrainingConfig
from training.cuda_graphs import CapturedSteps
from training.device import autocast
from training.micro_batches import halve_on_out_of_memory, split_batch

_UNDECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""Patterns of names, as the Trainer of Hugging Face has them."""


def make_optimizer(model: nn.Module) -> torch.optim.AdamW:
    """AdamW, fused; the first group of parameters decays, the second does not.

    On a GPU the learning rate is a tensor there, so that a captured step reads the present one.
    """
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    decayed = set(get_parameter_names(model, [nn.LayerNorm], _UNDECAYED))  # type: ignore[no-untyped-call]  # transformers' own
    named = list(model.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for name, p in named if name in decayed]},
            {"params": [p for name, p in named if name not in decayed]},
        ],
        lr=torch.zeros((), device=device) if on_gpu else 0.0,
        weight_decay=0.0,
        fused=True,
        capturable=on_gpu,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set it for all parameters, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(value)
        else:
            group["lr"] = value


def forget_steps(optimizer: torch.optim.Optimizer) -> None:
    """Make the state that of an optimizer without a step, in the same memory."""
    for state in optimizer.state.values():
        for tensor in state.values():
            tensor.zero_()


class OptimizerStep:
    """Trains one model, a step at a time; used again for the next training of the same model.

    The loss is the weighted mean over all rows of a step: the divisor is the sum of the weights
    of the whole step, so that loss and gradient are the same whether its rows pass through the
    model at once or, where device memory is short, in several passes.
    """

    def __init__(self, model: PreTrainedModel, *, captured: CapturedSteps | None = None) -> None:
        """Take the model, on its device.

        Args:
            model: gives logits [rows, num_labels].
            captured: runs whole steps as graphs of the device; None: each is run as it is.
        """
        self.model = model
        self.device = next(model.parameters()).device
        self._optimizer = make_optimizer(model)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._captured = captured
        # What a captured step reads, and so never another tensor.
        self._class_weights = torch.zeros(model.config.num_labels or 0, device=self.device)
        self._max_grad_norm = torch.zeros((), device=self.device)
        self._kept_share = torch.ones((), device=self.device)
        self._interval_loss = torch.zeros((), device=self.device)
        self._decays_apart = False
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
        """Forget all steps: the next one is the first of a training.

        Args:
            training: its hyperparameters.
            class_weights: [num_labels].
            bfloat16: whether the forward pass computes in it.
            micro_batch_size: most rows of one pass through the model; None: whole batches.
            on_micro_batch_size: told the number when memory ran out and it was lowered.
        """
        assert micro_batch_size is None or micro_batch_size >= 1, micro_batch_size
        forget_steps(self._optimizer)
        self._optimizer.zero_grad(set_to_none=True)
        self._set_weight_decay(training.weight_decay)
        if self._captured and bfloat16 != self._bfloat16:
            self._captured.forget()
        self._bfloat16 = bfloat16
        self._class_weights.copy_(torch.from_numpy(class_weights))
        self._max_grad_norm.fill_(training.max_grad_norm)
        self._interval_loss.zero_()
        self._interval_steps = 0
        self._micro_batch_size = micro_batch_size or training.batch_size
        self._on_micro_batch_size = on_micro_batch_size
        self.model.train()

    def step(self, batch: Batch, *, learning_rate: float) -> None:
        """Take one step; where memory runs out, it is made again in smaller passes.

        Args:
            batch: `input_ids` and `attention_mask`, int64 [rows, length], and `labels`,
                int64 [rows], on the CPU.
            learning_rate: of this step.

        Raises:
            torch.OutOfMemoryError: not even one row fits.
        """
        set_learning_rate(self._optimizer, learning_rate)
        if self._decays_apart:
            self._kept_share.fill_(1 - learning_rate * (self._weight_decay or 0.0))
        self._interval_steps += 1
        rows = len(batch["labels"])
        if self._captured is not None and rows <= self._micro_batch_size:
            self._captured.run(batch, step=self._step_whole, plain=self._step_fitting)
        else:
            self._step_fitting(batch)

    def take_interval_loss(self) -> float:
        """Mean loss of the steps since the last call; NaN if there was none."""
        loss = float(self._interval_loss) / self._interval_steps if self._interval_steps else None
        self._interval_loss.zero_()
        self._interval_steps = 0
        return float("nan") if loss is None else loss

    def snapshot(self) -> dict[str, Any]:
        """All that the rest of the training depends on, between two steps; nothing is copied."""
        return {
            "weights": self.model.state_dict(),
            "optimizer": {"state": self._optimizer.state_dict()["state"]},
            "generators": as_plain_values(generator_states(self.device)),
            "interval_loss": self._interval_loss,
            "interval_steps": self._interval_steps,
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on from where `snapshot` was taken, after `begin` with the same hyperparameters."""
        self.load_weights(snapshot)
        if self._captured is not None:
            self._captured.forget()  # they hold the state's former memory
        # The settings stay: a snapshot of another device has others, and `begin` set the rest.
        settings = self._optimizer.state_dict()["param_groups"]
        state = snapshot["optimizer"]["state"]
        self._optimizer.load_state_dict({"state": state, "param_groups": settings})
        restore_generators(snapshot["generators"], self.device)
        self._interval_loss.copy_(snapshot["interval_loss"])
        self._interval_steps = snapshot["interval_steps"]

    def load_weights(self, snapshot: Mapping[str, Any]) -> None:
        """Set the model alone to what it was when `snapshot` was taken."""
        self.model.load_state_dict(snapshot["weights"])

    def release(self) -> bool:
        """Give back the memory of graphs, for good; whether there was any."""
        return self._captured is not None and self._captured.give_up()

    def end(self) -> None:
        """Free what only a training under way needs."""
        self._optimizer.zero_grad(set_to_none=True)

    def _set_weight_decay(self, value: float) -> None:
        is_another = self._weight_decay not in (None, value)
        if self._captured is not None and is_another and not self._decays_apart:
            # A graph has the optimizer's own decay, a plain number, burnt in.
            self._decays_apart = True
            self._captured.forget()
        self._weight_decay = value
        # Looked up anew: loading a state replaces the groups.
        self._optimizer.param_groups[0]["weight_decay"] = 0.0 if self._decays_apart else value

    def _step_whole(self, batch: Batch) -> None:
        """One step in one pass."""
        self._descend(self._gradients([batch]))

    def _step_fitting(self, batch: Batch) -> None:
        """One step of rows of which nobody knows whether they fit into memory."""
        generators = generator_states(self.device)
        self._optimizer.zero_grad(set_to_none=True)  # of a capture that failed

        def begin_again(rows: int) -> None:
            self._optimizer.zero_grad(set_to_none=True)
            restore_generators(generators, self.device)
            if rows < min(self._micro_batch_size, len(batch["labels"])):
                self._micro_batch_size = rows
                self._on_micro_batch_size(rows)

        loss = halve_on_out_of_memory(
            lambda rows: self._gradients(split_batch(batch, rows=rows)),
            rows=min(self._micro_batch_size, len(batch["labels"])),
            on_fewer=begin_again,
            name="a training step",
            release=self.release,
        )
        self._descend(loss)

    def _gradients(self, parts: Sequence[Batch]) -> torch.Tensor:
        """Gradients of one step in one pass a part; its loss, float32 []."""
        parts = [to_device(part, self.device) for part in parts]
        divisor = self._class_weights[torch.cat([part["labels"] for part in parts])].sum()
        losses = []
        for part in parts:
            loss = self._summed_loss(part) / divisor
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _summed_loss(self, part: Batch) -> torch.Tensor:
        inputs = {name: values for name, values in part.items() if name != "labels"}
        with autocast(self.device, bfloat16=self._bfloat16, keeps_casts=False):
            logits = self.model(**inputs).logits
        return cross_entropy(
            logits.float(), part["labels"], weight=self._class_weights, reduction="sum"
        )

    def _descend(self, loss: torch.Tensor) -> None:
        """Clip the gradients, take the optimizer's step and note the loss.

        AdamW divides by its `grad_scale` as it reads the gradients, which saves a pass over them
        for the clipping.
        """
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        # As torch's `clip_grads_with_norm_` has it, inverted.
        scale = ((norm + 1e-6) / self._max_grad_norm).clamp(min=1.0)
        self._optimizer.grad_scale = scale  # type: ignore[attr-defined]  # torch's GradScaler sets it
        if self._decays_apart:
            with torch.no_grad():
                decayed = self._optimizer.param_groups[0]["params"]
                kept = [p for p in decayed if p.grad is not None]
                torch._foreach_mul_(kept, self._kept_share)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._interval_loss += loss
