"""Small models and toy rows, and how tests load sound and damaged models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from training.config import TINY, ModelConfig, TrainingConfig
from training.encoder import read_encoder
from training.errors import InputError
from training.finetune import Task
from training.model import TokenizerFacts, facts_of, load_tokenizer
from training.tokens import LabelledTokens, TokenTable, from_rows

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


VOCABULARY = 40
_START, _END, _FIRST_INDICATIVE, _FIRST_OTHER = 2, 3, 5, 10


def toy_rows(num_rows: int, *, seed: int = 0) -> LabelledTokens:
    """Rows of 5 to 14 ids, classes about 6:3:1."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(len(LABELS), num_rows, p=[0.6, 0.3, 0.1])
    labels[: len(LABELS)] = range(len(LABELS))
    rows = []
    for label in labels:
        words = generator.integers(_FIRST_OTHER, VOCABULARY, generator.integers(3, 13))
        words[generator.choice(len(words), 3, replace=False)] = _FIRST_INDICATIVE + label
        rows.append(np.array([_START, *words, _END], dtype=np.int32))
    return LabelledTokens(tokens=from_rows(rows), labels=labels.astype(np.int64))


def table_of_lengths(lengths: list[int]) -> TokenTable:
    """Row i consists of `lengths[i]` times the id i + 1."""
    rows = [np.full(length, i + 1, dtype=np.int32) for i, length in enumerate(lengths)]
    return from_rows(rows)


def toy_task(num_rows: int = 320, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "train": toy_rows(num_rows),
        "validation": toy_rows(80, seed=1),
        "model": ModelConfig(name=TINY, max_length=16),
        "tokenizer": TokenizerFacts(size=VOCABULARY, pad_token_id=0),
        "labels": LABELS,
    }
    return Task(**(fields | changes))


def toy_training(**changes: Any) -> TrainingConfig:
    fields: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "warmup_steps": 0.1,
    }
    return TrainingConfig(**(fields | changes))
