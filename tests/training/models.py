"""Loading models from places, for the tests of sound and of spoilt ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from training.config import ModelConfig
from training.encoder import read_encoder
from training.errors import InputError
from training.model import facts_of, load_tokenizer

LABELS = ("biasa", "entheng", "abot")
Tensors = dict[str, torch.Tensor]
NOWHERE = Path("no-such-directory")


def configured(directory: Path | str, **settings: Any) -> ModelConfig:
    return ModelConfig(**({"name": str(directory), "max_length": 16} | settings))


def load(directory: Path | str, *, seed: int = 0, **settings: Any) -> PreTrainedModel:
    model = configured(directory, **settings)
    tokenizer = facts_of(load_tokenizer(model, tiny=NOWHERE))
    return read_encoder(model, labels=LABELS, tokenizer=tokenizer).build(seed)


def problem_of(directory: Path | str, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(directory, **settings)
    (line,) = caught.value.problems
    assert "\n" not in line
    assert line.startswith(("model.name", "model.max_length"))
    assert str(directory) in line
    return line


def edit(bert: Path, **changes: Any) -> None:
    path = bert / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def resave(
    bert: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = bert / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
