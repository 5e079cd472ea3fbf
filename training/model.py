"""The places of models, a hub id, a directory or `tiny`, and the tokenizers there."""

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
from training.errors import InputError
from training.panics import panics_are_errors, silenced_panics
from training.tokenizer import TOKENIZER_FILE, learn_vocabulary, missing_library, save_tokenizer
from training.tokens import describe_tokens, encode


def check_lengths(
    model: ModelConfig, built: PreTrainedModel, *, fewest: int, pad_token_id: int
) -> None:
    """Classify a row of `max_length` tokens, then rows of the fewest tokens and of one more.

    Args:
        model: names the place and `max_length`.
        built: on the CPU, where a position out of range is an error and not an abort.
        fewest: tokens of the shortest row.
        pad_token_id: the id that the rows are not made of.

    Raises:
        InputError: some row cannot be classified; the longest that can is named where there is one.
    """
    long, short = model.max_length, max(fewest, 1)
    failed = _failure(built, long, pad_token_id)
    if failed is not None:
        longest = _longest(built, short, long, pad_token_id)
        if longest is None:
            raise InputError(
                f"model.name: {model.name!r} takes neither a row of {short} tokens nor one of"
                f" model.max_length {long} ({failed}); choose an encoder such as BERT"
            )
        raise InputError(
            f"model.max_length is {long}, but must be at most {longest}, the longest row that"
            f" {model.name!r} takes ({failed}); set model.max_length to {longest} or less"
        )
    for length in sorted({short, min(short + 1, long)}):
        failed = _failure(built, length, pad_token_id)
        if failed is not None:
            raise InputError(
                f"model.name: {model.name!r} takes no row of {length} tokens ({failed}), but texts"
                f" have from {short} to {long}; choose an encoder such as BERT"
            )


def _longest(built: PreTrainedModel, short: int, long: int, pad_token_id: int) -> int | None:
    """The longest row below `long` that the model takes, found by halving; None: not even short."""
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
    """Why a row of `length` tokens cannot be classified; None: it can."""
    row = torch.full((1, length), 1 if pad_token_id == 0 else 0)
    end: Any = getattr(built.config, "eos_token_id", None)
    if built.config.is_encoder_decoder and isinstance(end, int):
        row[0, -1] = end  # these classify by the row's end
    was_training = built.training
    built.train(False)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            built(input_ids=row, attention_mask=torch.ones_like(row))
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of no common class: each architecture fails in its own way
        return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        built.train(was_training)
    return None


@dataclass(frozen=True, kw_only=True)
class TokenizerFacts:
    """What training needs to know of a tokenizer."""

    size: int
    """Number of word pieces, added ones included."""
    pad_token_id: int
    """The id that fills short rows; they are masked."""
    pads_left: bool = False
    """Whether it fills them before their text, not after."""
    eos_token_id: int | None = None
    """The id that ends a row, for models that look for it; None: there is none."""
    fewest: int = 1
    """Tokens of the shortest row: the special ones, at least one."""

    @property
    def padding(self) -> Padding:
        """How rows of a batch are brought to one length."""
        return Padding(token_id=self.pad_token_id, is_left=self.pads_left)


def facts_of(tokenizer: PreTrainedTokenizerBase) -> TokenizerFacts:
    """What training needs to know of `tokenizer`.

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
    """Learn the vocabulary of `tiny` from training texts and write its tokenizer."""
    assert model.name == TINY
    save_tokenizer(learn_vocabulary(texts), directory, max_length=model.max_length)


def load_tokenizer(model: ModelConfig, *, tiny: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of `model`; for `tiny` the one in the directory `tiny`.

    Raises:
        InputError: there is none at that place, it cannot be read, or a library that it needs is
            not installed.
    """
    source, options = (str(tiny), {}) if model.name == TINY else source_of(model)
    try:
        with loading("tokenizer", model), silenced_panics():
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            num_words = len(tokenizer) - len(tokenizer.all_special_ids)
    except InputError as error:
        if library := missing_library(error):
            raise InputError(_needs(library, model)) from error
        if "tiktoken" in str(error):  # what transformers tries last, whatever the file is
            raise InputError(
                f"model.name: the vocabulary of {model.name!r} is no whole SentencePiece file; copy"
                " it again or, if it is one of tiktoken's, run pip install tiktoken"
            ) from error
        raise
    # Without it emoji are read as they stand here, and by their names where it is installed.
    if getattr(tokenizer, "normalization", False) and not getattr(tokenizer, "demojizer", True):
        raise InputError(_needs("emoji", model))
    # With no tokenizer files at all, some versions give one that knows special tokens only.
    if num_words <= 0:
        raise InputError(
            f"model.name: {model.name!r} has no tokenizer: only special tokens came of it, but"
            " its vocabulary (tokenizer.json or vocab.txt) is needed; copy it beside the model"
        )
    with loading("tokenizer", model):
        _try(tokenizer, max_length=model.max_length)
    return tokenizer


def _needs(library: str, model: ModelConfig) -> str:
    return (
        f"model.name: the tokenizer of {model.name!r} is read with the library {library}, which is"
        f" not installed; run pip install {library} wherever the model is used, or choose an"
        f" encoder with a {TOKENIZER_FILE}"
    )


def _try(tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
    """Encode texts, a short and a truncated one: some damage shows only then."""
    texts = ["a", "a " * max_length]
    with silenced_panics():
        describe_tokens(tokenizer, texts, max_length=max_length)
        tokens = encode(tokenizer, texts, max_length=max_length)
    if tokens.lengths.max() > max_length or tokens.ids.min(initial=0) < 0:
        raise ValueError("it does not cut texts to the length asked for")


def source_of(model: ModelConfig) -> tuple[str, dict[str, Any]]:
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
def loading(what: str, model: ModelConfig) -> Iterator[None]:
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


def check_fits(model: ModelConfig, built: PreTrainedModel, tokenizer: TokenizerFacts) -> None:
    """Check that a model takes rows of every length up to `max_length` and its tokenizer's ids.

    Raises:
        InputError: it does not.
    """
    # CANINE hashes characters: its configuration has no such number.
    size = getattr(built.config, "vocab_size", None)
    if size is not None and tokenizer.size > size:
        raise InputError(
            f"model.name: the tokenizer of {model.name!r} has {tokenizer.size} word pieces, but the"
            f" model embeds {size}; take model and tokenizer from the same place"
        )
    check_lengths(model, built, fewest=tokenizer.fewest, pad_token_id=tokenizer.pad_token_id)


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
