"""AdamW as a fine-tuning uses it: which weights decay, and the learning rate of each step."""

import torch
from torch import nn
from transformers.trainer_pt_utils import get_parameter_names

from training.config import TrainingConfig
from training.schedule import Schedule, num_warmup_steps

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


def learning_rate_after(steps: int, training: TrainingConfig, schedule: Schedule) -> float:
    """Learning rate of the step that follows `steps` steps.

    It rises linearly from 0 over the warm-up, then falls linearly to 0 at the end of the full
    budget (`get_linear_schedule_with_warmup` of transformers).
    """
    warmup, total = num_warmup_steps(training, schedule), schedule.total_steps
    if steps < warmup:
        return training.learning_rate * (steps / warmup)
    return training.learning_rate * max(0.0, (total - steps) / max(1, total - warmup))
