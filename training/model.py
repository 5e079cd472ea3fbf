"""Locations of models (hub id, directory or `tiny`), their tokenizers, and whether a model fits.

The models themselves are read in `training.encoder`.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from training.batches import Padding
from training.config import TINY, ModelConfig
from training.errors import InputError, panics_are_errors, silenced_panics
from training.model_source import source_of
from training.tokenizer import TOKENIZER_FILE, learn_vocabulary, missing_library, save_tokenizer
from training.tokens import describe_tokens, encode

_MOST_LAYERS = 1000
_BYTES_PER_PARAMETER = 4


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """The facts about a tokenizer that training needs."""

    size: int
    """Size of the vocabulary, added tokens included."""
    pad_token_id: int
    """Token id of padding, which is masked."""
    pads_left: bool = False
    """Whether padding comes before the text instead of after it."""
    eos_token_id: int | None = None
    """Token id of the end of a row, for models that classify by it; None: there is none."""
    fewest: int = 1
    """Number of tokens of the shortest row: its special tokens, but at least 1."""

    @property
    def padding(self) -> Padding:
        """How the rows of a batch are padded."""
        return Padding(token_id=self.pad_token_id, is_left=self.pads_left)


def facts_of(tokenizer: PreTrainedTokenizerBase) -> TokenizerFacts:
    """Return the facts about `tokenizer` that training needs.

    Raises:
        InputError: it has no padding token.
    """
    if tokenizer.pad_token_id is None:
        end = tokenizer.eos_token
        command = f"AutoTokenizer.from_pretrained(DIRECTORY, pad_token={end!r})"
        way = f"give it one by {command}.save_pretrained(DIRECTORY), or " if end else ""
        raise InputError(
            f"model.name: the tokenizer of {tokenizer.name_or_path!r} has no padding token, but"
            f" batches are padded; {way}choose an encoder such as BERT, whose tokenizer has one"
        )
    return TokenizerFacts(
        size=len(tokenizer),
        pad_token_id=int(tokenizer.pad_token_id),
        pads_left=tokenizer.padding_side == "left",
        eos_token_id=tokenizer.eos_token_id,
        fewest=max(tokenizer.num_special_tokens_to_add(), 1),
    )


def learn_tiny_tokenizer(model: ModelConfig, texts: Sequence[str], directory: Path) -> None:
    """Learn the vocabulary of `tiny` from the training texts and write its tokenizer."""
    assert model.name == TINY
    save_tokenizer(learn_vocabulary(texts), directory, max_length=model.max_length)


def load_tokenizer(model: ModelConfig, *, tiny: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of `model`; that of `tiny` is read from the directory `tiny`.

    Raises:
        InputError: there is no tokenizer, it cannot be read, or it needs a library that is not
            installed.
    """
    source, options = (str(tiny), {}) if model.name == TINY else source_of(model)
    try:
        with loading("tokenizer", model), silenced_panics():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            num_words = len(tokenizer) - len(tokenizer.all_special_ids)
    except InputError as error:
        if library := missing_library(error):
            raise InputError(_needs(library, model)) from error
        if "tiktoken" in str(error):  # the last format that transformers attempts
            raise InputError(
                f"model.name: the vocabulary of {model.name!r} is not a complete SentencePiece"
                " file; copy it again or, if it is a tiktoken file, run pip install tiktoken"
            ) from error
        raise
    # The tokens of an emoji would depend on whether this library is installed.
    if getattr(tokenizer, "normalization", False) and not getattr(tokenizer, "demojizer", True):
        raise InputError(_needs("emoji", model))
    # Without tokenizer files some versions of transformers return special tokens only.
    if num_words <= 0:
        raise InputError(
            f"model.name: {model.name!r} has no tokenizer: it has special tokens only, but"
            " its vocabulary (tokenizer.json or vocab.txt) is needed; copy it beside the model"
        )
    with loading("tokenizer", model):
        _check_encoding(tokenizer, max_length=model.max_length)
    return tokenizer


def _needs(library: str, model: ModelConfig) -> str:
    return (
        f"model.name: the tokenizer of {model.name!r} is read with the library {library}, which is"
        f" not installed; run pip install {library} wherever the model is used, or choose an"
        f" encoder with a {TOKENIZER_FILE}"
    )


def _check_encoding(tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
    """Encode a short text and one that is truncated: some damage has no effect before that."""
    texts = ["a", "a " * max_length]
    with silenced_panics():
        describe_tokens(tokenizer, texts, max_length=max_length)
        tokens = encode(tokenizer, texts, max_length=max_length)
    if tokens.lengths.max() > max_length or tokens.ids.min(initial=0) < 0:
        raise ValueError("it does not truncate texts to the required length")


@contextmanager
def loading(what: str, model: ModelConfig) -> Iterator[None]:
    """Turn what libraries raise for a missing, damaged or hostile file into one error line."""
    try:
        with panics_are_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an error follows
            yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # these libraries share no class of errors
        raise InputError(_cannot_load(what, model, error)) from error


def _cannot_load(what: str, model: ModelConfig, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    if isinstance(error, UnpicklingError):  # torch's own message advises to run the code
        reason = "its pytorch_model.bin is damaged, or has code beside tensors, which is never run"
    hint = (
        "give a directory with config.json, weights (model.safetensors) and tokenizer.json"
        " (weights: random needs no weights)"
        if Path(model.name).is_dir()
        else "give an id that the hub has and this machine can reach, a directory, or tiny"
    )
    return f"model.name: no {what} can be loaded from {model.name!r} ({reason}); {hint}"


def check_fits(model: ModelConfig, built: PreTrainedModel, tokenizer: TokenizerFacts) -> None:
    """Check that a model accepts all ids of its tokenizer and rows of up to `max_length` tokens.

    Raises:
        InputError: it does not.
    """
    # CANINE hashes characters and has no vocabulary.
    size = getattr(built.config, "vocab_size", None)
    if size is not None and tokenizer.size > size:
        raise InputError(
            f"model.name: the tokenizer of {model.name!r} has {tokenizer.size} tokens, but the"
            f" model has {size} embeddings; take model and tokenizer from the same source"
        )
    check_lengths(model, built, fewest=tokenizer.fewest, pad_token_id=tokenizer.pad_token_id)


def check_lengths(
    model: ModelConfig, built: PreTrainedModel, *, fewest: int, pad_token_id: int
) -> None:
    """Check that a model classifies rows of `max_length`, of the fewest tokens and of one more.

    Args:
        model: gives the name and `max_length`.
        built: on the CPU, where a position out of range is an error instead of an abort.
        fewest: number of tokens of the shortest row.
        pad_token_id: an id that these rows do not contain.

    Raises:
        InputError: a row cannot be classified; the message states the longest that can, if any.
    """
    long, short = model.max_length, max(fewest, 1)
    failed = _failure(built, long, pad_token_id)
    if failed is not None:
        longest = _longest(built, short, long, pad_token_id)
        if longest is None:
            raise InputError(
                f"model.name: {model.name!r} classifies neither a row of {short} tokens nor one of"
                f" model.max_length {long} ({failed}); choose an encoder such as BERT"
            )
        raise InputError(
            f"model.max_length is {long}, but must be at most {longest}, the longest row that"
            f" {model.name!r} classifies ({failed}); set model.max_length to {longest} or less"
        )
    for length in sorted({short, min(short + 1, long)}):
        failed = _failure(built, length, pad_token_id)
        if failed is not None:
            raise InputError(
                f"model.name: {model.name!r} classifies no row of {length} tokens ({failed}), but"
                f" texts have from {short} to {long}; choose an encoder such as BERT"
            )


def _longest(built: PreTrainedModel, short: int, long: int, pad_token_id: int) -> int | None:
    """Return the longest row below `long` that works, by bisection; None if `short` fails too."""
    if _failure(built, short, pad_token_id) is not None:
        return None
    while long - short > 1:
        middle = (short + long) // 2
        if _failure(built, middle, pad_token_id) is None:
            short = middle
        else:
            long = middle
    return short


def _failure(built: PreTrainedModel, length: int, pad_token_id: int) -> str | None:
    """Return why a row of `length` tokens cannot be classified; None if it can."""
    row = torch.full((1, length), 1 if pad_token_id == 0 else 0)
    end: Any = getattr(built.config, "eos_token_id", None)
    if built.config.is_encoder_decoder and isinstance(end, int):
        row[0, -1] = end  # these models classify by the end of the row
    was_training = built.training
    built.train(False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            built(input_ids=row, attention_mask=torch.ones_like(row))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # architectures share no class of errors
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        built.train(was_training)
    return None


def check_size(config: PreTrainedConfig) -> None:
    """Check the number of layers and parameters before memory is allocated for them.

    Raises:
        ValueError: it has more layers than any encoder, or more parameters than this machine's
            memory holds in float32.
    """
    layers = getattr(config, "num_hidden_layers", 0)
    if isinstance(layers, int) and layers > _MOST_LAYERS:
        raise ValueError(f"num_hidden_layers is {layers}, but must be at most {_MOST_LAYERS}")
    with torch.device("meta"):
        model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]  # transformers' own
    needed = _BYTES_PER_PARAMETER * sum(parameter.numel() for parameter in model.parameters())
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise ValueError(
            f"its parameters need {needed / 2**30:,.0f} GiB, but this machine has"
            f" {available / 2**30:,.0f} GiB of memory"
        )
