"""Whether a model can be built at all: a number in config.json may ask for any amount of memory."""

import os
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig

_MOST_LAYERS = 1000
_BYTES_A_PARAMETER = 4


def check_size(config: PreTrainedConfig) -> None:
    """Build the architecture without memory for its parameters, and count them.

    Raises:
        ValueError: it has more layers than any encoder, or more parameters than this machine's
            memory holds in float32.
    """
    layers = getattr(config, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > _MOST_LAYERS:
        raise ValueError(f"num_hidden_layers is {layers}, but must be at most {_MOST_LAYERS}")
    with torch.device("meta"):
        model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # transformers' own
    needed = _BYTES_A_PARAMETER * sum(parameter.numel() for parameter in model.parameters())
    held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > held:
        raise ValueError(
            f"its parameters take {needed / 2**30:,.0f} GiB, but this machine has"
            f" {held / 2**30:,.0f} GiB of memory"
        )
