"""Change the dropout of a built model, which keeps its memory and its captured steps.

Modules of dropout hold their probability, attention reads an attribute of its own, and the
configuration holds what the saved model has. All of them are changed together.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from transformers import PreTrainedConfig, PreTrainedModel

from training.encoder import Encoder
from training.errors import InputError


class ModelDropout:
    """The probabilities of dropout of one model; `None` stands for its own."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Note the model's own probabilities, and give it a configuration of its own."""
        copies: dict[int, PreTrainedConfig] = {}
        for module in list(model.modules()):
            # ModernBERT has an identity where its configuration asks for no dropout.
            for name, child in module.named_children():
                if isinstance(child, nn.Identity) and "drop" in name:
                    setattr(module, name, nn.Dropout(0.0))
            config = vars(module).get("config")
            if isinstance(config, PreTrainedConfig):
                if id(config) not in copies:
                    copies[id(config)] = copy.deepcopy(config)
                vars(module)["config"] = copies[id(config)]
        self._own = [*_of_modules(model), *_of_configurations(list(copies.values()))]

    def set(self, value: float | None) -> None:
        """Set all probabilities of dropout, or the model's own."""
        for owner, name, own in self._own:
            setattr(owner, name, own if value is None else value)


def check_has_dropout(encoder: Encoder, name: str) -> None:
    """Check that an encoder has dropout at all, so that `training.dropout` has an effect.

    Args:
        encoder: its architecture is built without memory.
        name: of the model, for the error.

    Raises:
        InputError: it has none.
    """
    with torch.device("meta"):
        model = encoder.kind(copy.deepcopy(encoder.config))
    if not _of_modules(model):
        raise InputError(
            f"training.dropout: {name!r} has no dropout, so that setting or searching it would"
            " change nothing; leave dropout out, or choose another encoder"
        )


def _of_modules(model: nn.Module) -> list[tuple[Any, str, float]]:
    found: list[tuple[Any, str, float]] = []
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            found.append((module, "p", module.p))
        found += [
            (module, name, value)
            for name, value in vars(module).items()
            if "dropout" in name and _is_probability(value)
        ]
    return found


def _of_configurations(configs: list[PreTrainedConfig]) -> list[tuple[Any, str, float]]:
    """Return the attributes for dropout of configurations; a null one follows another."""
    return [
        (config, name, value)
        for config in configs
        for name, value in vars(config).items()
        if ("dropout" in name or name.endswith("pdrop")) and _is_probability(value)
    ]


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
