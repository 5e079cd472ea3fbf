"""AdamW of one model: weight decay on matrices alone, and a learning rate for each layer.

A step reads the learning rates from tensors if it is captured as a CUDA graph. The fused AdamW
takes one rate a call, so that layers with rates of their own are groups of their own: BERT with 12
layers then has 30 calls a step instead of 2. Where all layers train alike there are 2.
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_pt_utils import get_parameter_names

from training.config import TrainingConfig

_UNDECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""Patterns of the names of parameters without weight decay, as in the Trainer of Hugging Face."""


class Grouping(IntEnum):
    """Which parameters have a learning rate of their own."""

    ALL_ALIKE = 0
    HEAD = 1
    LAYERS = 2
    """The head, too."""

    @classmethod
    def of(cls, training: TrainingConfig) -> "Grouping":
        """Return the coarsest grouping that a configuration can be trained with."""
        if training.layer_decay != 1:
            return cls.LAYERS
        return cls.ALL_ALIKE if training.head_learning_rate == 1 else cls.HEAD


class GroupedAdamW:
    """Fused AdamW whose groups of parameters are made finer when a training needs it."""

    def __init__(self, model: PreTrainedModel, *, rates_in_tensors: bool) -> None:
        """Make the optimizer of a model with two groups: with and without weight decay.

        Args:
            model: on its device already.
            rates_in_tensors: whether a step reads learning rates from tensors, which keep their
                memory, rather than from numbers.
        """
        self._named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self._levels = levels_of(model)
        self._decayed = set(
            get_parameter_names(model, [nn.LayerNorm], _UNDECAYED)  # type: ignore[no-untyped-call]  # transformers' own
        )
        self._device = next(model.parameters()).device
        self._rates_in_tensors = rates_in_tensors
        self._grouping = Grouping.ALL_ALIKE
        self._weight_decay = 0.0
        on_gpu = self._device.type == "cuda"
        keys, groups = self._groups()
        self._keys = keys
        self.adamw = torch.optim.AdamW(
            groups, lr=0.0, weight_decay=0.0, fused=True, capturable=on_gpu
        )
        self._set_multipliers([1.0] * len(keys))

    def group_for(self, training: TrainingConfig) -> bool:
        """Take the learning rates of layers and head; return whether the groups have changed.

        Groups are made finer, never coarser, so that captured steps serve later trainings.
        """
        grouping = max(self._grouping, Grouping.of(training))
        is_changed = grouping != self._grouping
        if is_changed:
            self._grouping = grouping
            self._keys, groups = self._groups()
            settings = self.adamw.param_groups[0]
            self.adamw.param_groups[:] = [{**settings, **group} for group in groups]
        num_levels = max(self._levels.values(), default=0)
        self._set_multipliers(
            [self._multiplier(level, num_levels, training) for level, _ in self._keys]
        )
        return is_changed

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate, of which each group has its multiple."""
        if self._rates_in_tensors:
            self._rates.copy_(self._factors * value)
            return
        for group, multiplier in zip(self.adamw.param_groups, self._multipliers, strict=True):
            group["lr"] = value * multiplier

    def set_weight_decay(self, value: float) -> None:
        """Set the decoupled weight decay of the groups that have it."""
        for (_, is_decayed), group in zip(self._keys, self.adamw.param_groups, strict=True):
            group["weight_decay"] = value if is_decayed else 0.0

    def set_shares(self, rate: float, weight_decay: float) -> None:
        """Set by which share of its weights a step leaves each group, for `decay`."""
        self._shares.copy_(1 - self._factors * (rate * weight_decay))

    def decay(self) -> None:
        """Multiply the weights that decay, and have a gradient, by the share of their group."""
        groups = zip(self._keys, self.adamw.param_groups, self._shares, strict=True)
        with torch.no_grad():
            for (_, is_decayed), group, share in groups:
                kept = [p for p in group["params"] if p.grad is not None]
                if is_decayed and kept:
                    torch._foreach_mul_(kept, share)

    def reset_state(self) -> None:
        """Reset the state to that before the first step, in the same memory."""
        for state in self.adamw.state.values():
            for tensor in state.values():
                tensor.zero_()

    def snapshot(self) -> dict[int, dict[str, Any]]:
        """Return the state by the position of the parameter in the model; nothing is copied."""
        states = self.adamw.state
        return {
            position: dict(states[p]) for position, (_, p) in enumerate(self._named) if p in states
        }

    def restore(self, states: Mapping[int, Mapping[str, Any]]) -> None:
        """Restore a snapshot, whatever the groups were when it was taken."""
        position = {id(p): number for number, (_, p) in enumerate(self._named)}
        ordered = [p for group in self.adamw.param_groups for p in group["params"]]
        found = {number: states.get(position[id(p)]) for number, p in enumerate(ordered)}
        # The settings stay: those of another device differ, and `group_for` has set the rest.
        settings = self.adamw.state_dict()["param_groups"]
        state = {number: one for number, one in found.items() if one is not None}
        self.adamw.load_state_dict({"state": state, "param_groups": settings})
        self._set_multipliers(self._multipliers)  # loading has copied the tensors of the rates

    def _groups(self) -> tuple[list[tuple[int, bool]], list[dict[str, Any]]]:
        """Return the groups of the present grouping, and of each its level and whether it decays.

        Those with weight decay come first.
        """
        members: dict[tuple[int, bool], list[nn.Parameter]] = {}
        for name, parameter in self._named:
            key = self._level(name), name in self._decayed
            members.setdefault(key, []).append(parameter)
        keys = sorted(members, key=lambda key: (not key[1], key[0]))
        return keys, [{"params": members[key]} for key in keys]

    def _level(self, name: str) -> int:
        level, head = self._levels[name], max(self._levels.values())
        if self._grouping == Grouping.ALL_ALIKE:
            return 0
        return level if self._grouping == Grouping.LAYERS else (head if level == head else 0)

    def _multiplier(self, level: int, head: int, training: TrainingConfig) -> float:
        if self._grouping == Grouping.ALL_ALIKE:
            return 1.0
        if level == head:
            return training.head_learning_rate
        below_top = max(head - 1 - level, 0) if self._grouping == Grouping.LAYERS else 0
        return float(training.layer_decay**below_top)

    def _set_multipliers(self, multipliers: list[float]) -> None:
        """Set each group's multiple of the learning rate; tensors keep their memory if they can."""
        has_same_groups = len(getattr(self, "_multipliers", ())) == len(multipliers)
        self._multipliers = multipliers
        if not self._rates_in_tensors:
            return
        if not has_same_groups:
            self._factors = torch.zeros(len(multipliers), dtype=torch.float64, device=self._device)
            self._rates = torch.zeros(len(multipliers), device=self._device)
            self._shares = torch.ones(len(multipliers), device=self._device)
        self._factors.copy_(torch.tensor(multipliers, dtype=torch.float64))
        for group, rate in zip(self.adamw.param_groups, self._rates, strict=True):
            group["lr"] = rate


def levels_of(model: PreTrainedModel) -> dict[str, int]:
    """Return how far above the embeddings each parameter is, by its name.

    0 for embeddings; 1, 2, ... for the layers, from the lowest; then one level for what follows
    them in the encoder, such as a pooler, and the highest for the head. The layers are the entries
    of the encoder's lists of modules that are in no other list, in their order: those of a decoder
    are above those of an encoder. Where layers share their parameters there is one.
    """
    base = f"{model.base_model_prefix}."
    prefixes = [f"{base}{name}." for name in _layers(model.base_model)]
    above, head = len(prefixes) + 1, len(prefixes) + 2
    first = next((n for n, _ in model.named_parameters() if n.startswith(tuple(prefixes))), None)
    levels, is_below = {}, bool(prefixes)
    for name, _ in model.named_parameters():
        is_below &= name != first
        if not name.startswith(base):
            levels[name] = head
        elif of_layer := [k for k, prefix in enumerate(prefixes, 1) if name.startswith(prefix)]:
            levels[name] = of_layer[0]
        else:
            levels[name] = 0 if is_below or re.search("embed", name) else above
    return levels


def _layers(base: nn.Module) -> list[str]:
    """Return the names of the layers, from the lowest."""
    names: list[str] = []
    is_inside: Callable[[str], bool] = lambda name: any(name.startswith(f"{n}.") for n in names)  # noqa: E731
    for name, module in base.named_modules():
        if isinstance(module, nn.ModuleList) and not is_inside(name):
            names += [f"{name}.{number}" for number in range(len(module))]
    return names
