"""Encoders and their tokenizers: from a hub id, a directory, or `tiny`."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from training.config import TINY, ModelConfig
from training.errors import InputError
from training.model_size import check_size
from training.panics import panics_are_errors, untold_panics
from training.tokens import describe_tokens, encode
from training.vocabulary import learn_vocabulary, save_tokenizer

_TINY_ARCHITECTURE: dict[str, Any] = {
    "num_hidden_layers": 1,
    "hidden_size": 64,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    # From scratch on few rows it learns them by heart with less: 2 to 5 points of macro-F1.
    "hidden_dropout_prob": 0.3,
}


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What training needs to know of a tokenizer."""

    size: int
    """Number of word pieces, added ones included."""
    pad_token_id: int
    """The id that fills short rows; they are masked."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A pretrained model as it was read once, for all the trainings that start from it."""

    kind: type[PreTrainedModel]
    config: PreTrainedConfig
    weights: Mapping[str, npt.NDArray[Any]] | None
    """By parameter, float32, but for those that each training draws; None: all are drawn."""
    digest: str
    """SHA-256 of all of it: equal digests build equal models of equal seeds."""

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


def facts_of(tokenizer: PreTrainedTokenizerBase) -> TokenizerFacts:
    """What training needs to know of `tokenizer`.

    Raises:
        InputError: it has no padding token.
    """
    if tokenizer.pad_token_id is None:
        raise InputError(
            f"model.name: the tokenizer of {tokenizer.name_or_path!r} has no padding token, but"
            " batches are padded; choose an encoder such as BERT, whose tokenizer has one"
        )
    return TokenizerFacts(size=len(tokenizer), pad_token_id=int(tokenizer.pad_token_id))


def learn_tiny_tokenizer(model: ModelConfig, texts: Sequence[str], directory: Path) -> None:
    """Learn the vocabulary of `tiny` from training texts and write its tokenizer."""
    assert model.name == TINY
    save_tokenizer(learn_vocabulary(texts), directory, max_length=model.max_length)


def load_tokenizer(model: ModelConfig, *, tiny: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of `model`; for `tiny` the one in the directory `tiny`.

    Raises:
        InputError: there is none at that place, or it cannot be read.
    """
    source, options = (str(tiny), {}) if model.name == TINY else _source(model)
    with _loading("tokenizer", model), untold_panics():
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, **options)
        num_words = len(tokenizer) - len(tokenizer.all_special_ids)
    # With no tokenizer files at all, some versions give one that knows special tokens only.
    if num_words <= 0:
        raise InputError(
            f"model.name: {model.name!r} has no tokenizer: only special tokens came of it, but"
            " its vocabulary (tokenizer.json or vocab.txt) is needed; copy it beside the model"
        )
    with _loading("tokenizer", model):
        _try(tokenizer, max_length=model.max_length)
    return tokenizer


def _try(tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
    """Encode texts, a short and a truncated one: some damage shows only then."""
    texts = ["a", "a " * max_length]
    with untold_panics():
        describe_tokens(tokenizer, texts, max_length=max_length)
        tokens = encode(tokenizer, texts, max_length=max_length)
    if tokens.lengths.max() > max_length or tokens.ids.min(initial=0) < 0:
        raise ValueError("it does not cut texts to the length asked for")


def read_encoder(
    model: ModelConfig, *, labels: Sequence[str], tokenizer: TokenizerFacts
) -> Encoder:
    """Read the model from its place, with a head for these labels.

    Raises:
        InputError: nothing can be loaded from that place, or the model cannot take rows of
            `max_length` or ids of this tokenizer.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
    weights = None
    if model.name == TINY:
        built = _from_config(_tiny(model, tokenizer, names))
    else:
        built, drawn = _load(model, names)
        if model.weights == "pretrained":
            parameters = built.state_dict().items()
            weights = {name: w.numpy() for name, w in parameters if name not in drawn}
    _check_fits(model, built.config, tokenizer)
    with _loading("model", model):
        _answer_once(built, tokenizer)
    return Encoder(
        kind=type(built), config=built.config, weights=weights, digest=_digest(built, weights)
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
    row = torch.full((1, 2), tokenizer.pad_token_id)
    was_training = built.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        built.train()(input_ids=row, attention_mask=torch.ones_like(row))
    built.train(was_training)


def _tiny(model: ModelConfig, tokenizer: TokenizerFacts, names: dict[str, Any]) -> BertConfig:
    return BertConfig(
        vocab_size=tokenizer.size,
        pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=model.max_length,
        **_TINY_ARCHITECTURE,
        **names,
    )


def _from_config(config: PreTrainedConfig) -> PreTrainedModel:
    built: PreTrainedModel = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]  # transformers' own
        config, dtype=torch.float32
    )
    return built


def _load(model: ModelConfig, names: dict[str, Any]) -> tuple[PreTrainedModel, set[str]]:
    """The model, and the names of its parameters that no file holds."""
    source, options = _source(model)
    built: PreTrainedModel
    with _loading("model", model):
        config = AutoConfig.from_pretrained(source, **options, **names)
        check_size(config)
        if model.weights == "random":
            return _from_config(config), set()
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
    drawn = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    _check_is_pretrained(model, built, drawn)
    return built, drawn


def _check_is_pretrained(model: ModelConfig, built: PreTrainedModel, drawn: set[str]) -> None:
    prefix = built.base_model_prefix
    # A pooler is part of the head: checkpoints of masked language models have none.
    encoder = sorted(
        name for name in drawn if name.startswith(f"{prefix}.") and ".pooler." not in name
    )
    if encoder:
        raise InputError(
            f"model.name: the weights of {model.name!r} do not fit its config.json: {len(encoder)}"
            f" parameters of the encoder are missing or of another size ({encoder[0]} is one);"
            " give a directory saved whole, or set model.weights to random"
        )


def _source(model: ModelConfig) -> tuple[str, dict[str, Any]]:
    """The place of `model`, and what `from_pretrained` is told about it."""
    place = Path(model.name)
    if place.is_dir():
        return str(place), {"local_files_only": True, "trust_remote_code": False}
    if place.is_absolute() or model.name.startswith((".", "~")) or model.name.count("/") > 1:
        raise InputError(
            f"model.name is {model.name!r}, but there is no such directory; give a directory,"
            " a hub id such as indobenchmark/indobert-base-p1, or tiny"
        )
    return model.name, {"revision": model.revision, "trust_remote_code": False}


@contextmanager
def _loading(what: str, model: ModelConfig) -> Iterator[None]:
    """Turn what libraries raise for a missing, torn, foreign or hostile file into a line."""
    try:
        with panics_are_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what then ends in an error all the same
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of no common class: safetensors, pickle, tokenizers, hub
        raise InputError(_cannot_load(what, model, error)) from error


def _cannot_load(what: str, model: ModelConfig, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, UnpicklingError):  # torch's own words advise to run what it holds
        reason = "its pytorch_model.bin is torn or holds code beside tensors, which is never run"
    hint = (
        "give a directory with config.json, weights (model.safetensors) and tokenizer.json"
        " (weights: random needs no weights)"
        if Path(model.name).is_dir()
        else "give an id that the hub has and this machine can reach, a directory, or tiny"
    )
    return f"model.name: no {what} can be loaded from {model.name!r} ({reason}); {hint}"


def _check_fits(model: ModelConfig, config: Any, tokenizer: TokenizerFacts) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    # RoBERTa and its kin number positions from the padding id on.
    if positions and getattr(config, "model_type", "") in ("roberta", "xlm-roberta", "camembert"):
        positions -= tokenizer.pad_token_id + 1
    if positions and model.max_length > positions:
        raise InputError(
            f"model.max_length is {model.max_length}, but must be at most {positions}, the"
            f" positions that {model.name!r} has; set model.max_length to {positions} or less"
        )
    if tokenizer.size > config.vocab_size:
        raise InputError(
            f"model.name: the tokenizer of {model.name!r} has {tokenizer.size} word pieces, but the"
            f" model embeds {config.vocab_size}; take model and tokenizer from the same place"
        )
