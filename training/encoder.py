"""Encoders: read once from their place, built anew for each training."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    set_seed,
)

from training.config import TINY, ModelConfig
from training.encoder_config import settle
from training.errors import InputError
from training.model import TokenizerFacts, check_fits, loading, source_of
from training.model_size import check_size

_TINY_ARCHITECTURE: dict[str, Any] = {
    "num_hidden_layers": 1,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    # From scratch on few rows it learns them by heart with less: 2 to 5 points of F1.
    "hidden_dropout_prob": 0.3,
}

_FEWEST = 4
"""Tokens of the shortest row that every encoder takes; `max_length` is no smaller."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A pretrained model as it was read once, for all the trainings that start from it."""

    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    weights: Mapping[str, npt.NDArray[Any]] | None
    """By parameter, float32, but for those that each training draws; None: all are drawn."""
    digest: str
    """SHA-256 of all of it: equal digests build equal models of equal seeds."""
    note: str = ""
    """One line for the log, where something of the place is not used that a user may rely on."""

    def build(self, seed: int) -> PreTrainedModel:
        """A model of its own memory with a new head, its drawn parts from `seed`."""
        set_seed(seed)
        if self.weights is None:
            return _from_config(self.config)
        copies = {name: torch.tensor(array) for name, array in self.weights.items()}
        built: PreTrainedModel = self.kind.from_pretrained(
            None, config=self.config, state_dict=copies, dtype=torch.float32
        )
        return built


def read_encoder(
    model: ModelConfig, *, labels: Sequence[str], tokenizer: TokenizerFacts
) -> Encoder:
    """Read the model from its place; each training draws its own head for these labels.

    Raises:
        InputError: nothing can be loaded from that place, or the model cannot take rows of
            `max_length` or ids of this tokenizer.
    """
    weights, note = None, ""
    if model.name == TINY:
        built = _from_config(_tiny(model, tokenizer, labels))
    else:
        built, drawn, note = _load(model, labels, tokenizer)
        if model.weights == "pretrained":
            parameters = built.state_dict().items()
            weights = {name: w.numpy() for name, w in parameters if name not in drawn}
    check_fits(model, built, tokenizer)
    with loading("model", model):
        _answer_once(built, tokenizer)
    return Encoder(
        kind=type(built),
        config=built.config,
        weights=weights,
        digest=_digest(built, weights),
        note=note,
    )


def _digest(built: PreTrainedModel, weights: Mapping[str, npt.NDArray[Any]] | None) -> str:
    config = built.config.to_json_string(use_diff=False)
    digest = hashlib.sha256(f"{type(built).__qualname__}\n{config}".encode())
    for name, array in (weights or {}).items():
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _answer_once(built: PreTrainedModel, tokenizer: TokenizerFacts) -> None:
    """Classify a row of padding as in training: some of a config.json is read only then."""
    if built.config.is_encoder_decoder:
        return  # these want a row with an end, which is the tokenizer's to know
    row = torch.full((1, _FEWEST), tokenizer.pad_token_id)
    was_training = built.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built.train()(input_ids=row, attention_mask=torch.ones_like(row))
    built.train(was_training)


def _tiny(model: ModelConfig, tokenizer: TokenizerFacts, labels: Sequence[str]) -> BertConfig:
    config = BertConfig(
        vocab_size=tokenizer.size,
        max_position_embeddings=model.max_length,
        **_TINY_ARCHITECTURE,
    )
    settle(config, labels=labels, pad_token_id=tokenizer.pad_token_id)
    return config


def _from_config(config: PreTrainedConfig) -> PreTrainedModel:
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]  # transformers' own
        config, dtype=torch.float32
    )
    return built


def _load(
    model: ModelConfig, labels: Sequence[str], tokenizer: TokenizerFacts
) -> tuple[PreTrainedModel, set[str], str]:
    """The model, the names of its parameters that each training draws, and the encoder's note."""
    source, options = source_of(model)
    is_random = model.weights == "random"
    built: PreTrainedModel
    with loading("model", model):
        config = AutoConfig.from_pretrained(source, **options)
        former = set((config.id2label or {}).values())
        settle(
            config,
            labels=labels,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            is_random=is_random,
        )
        check_size(config)
        if is_random:
            return _from_config(config), set(), ""
        # In float32 whatever it was saved in: small steps are lost in half precision. A head of
        # another size is left out; `_check_is_pretrained` sees to the rest.
        built, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    missing = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    _check_is_pretrained(model, built, missing)
    # The head is a training's own: one that was loaded has learnt another task, or these rows.
    head = {name for name in built.state_dict() if not name.startswith(_base_of(built))}
    note = _note(model) if head - missing and former == set(labels) else ""
    return built, missing | head, note


def _base_of(built: PreTrainedModel) -> str:
    """What the names of the encoder's own parameters begin with."""
    return f"{built.base_model_prefix}."


def _note(model: ModelConfig) -> str:
    return (
        f"model.name: {model.name!r} has a head for these labels, which is not used: each training"
        " draws a new one from its seed"
    )


def _check_is_pretrained(model: ModelConfig, built: PreTrainedModel, drawn: set[str]) -> None:
    # Checkpoints of masked language models have no pooler; one that is there is kept.
    encoder = sorted(
        name for name in drawn if name.startswith(_base_of(built)) and ".pooler." not in name
    )
    if encoder:
        raise InputError(
            f"model.name: the weights of {model.name!r} do not fit its config.json: {len(encoder)}"
            f" parameters of the encoder are missing or of another size ({encoder[0]} is one);"
            " give a directory saved whole, or set model.weights to random"
        )
