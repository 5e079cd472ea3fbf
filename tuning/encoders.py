"""Read and check every encoder of a search: its tokenizer, its weights, the tokens of the rows."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from training.config import TINY, ModelConfig
from training.data import PreparedData
from training.dropout import check_has_dropout
from training.encoder import Encoder, read_encoder
from training.encoder_checks import check_encoder
from training.errors import InputError, Problems
from training.model import TokenizerFacts, facts_of, learn_tiny_tokenizer, load_tokenizer
from training.tokenizer import check_tokenizer
from training.tokens import TokenStatistics, TokenTable, describe_tokens, encode

_NUM_TRIED = 200
"""Training rows on which the shipped tokenizer is compared with the one of the search."""
_COPIES = 2
"""Of the weights of every encoder: the driver's, and the one in the object store."""

MOST_UNKNOWN = 0.2
"""Share of unknown tokens in the training texts above which training is pointless."""


@dataclass(frozen=True, kw_only=True)
class PreparedEncoder:
    """An encoder with the rows as its tokenizer gives them: what its trials need."""

    model: ModelConfig
    """Its name, and what all encoders of a search share."""
    tokenizer: TokenizerFacts
    encoder: Encoder
    """Read by the driver; each node fetches it once, and each trial copies it."""
    tokens: TokenTable
    """Of the training rows of the search, then of its validation rows."""


@dataclass(frozen=True, kw_only=True)
class CheckedEncoder:
    """An encoder that has passed all checks, with what only the driver needs."""

    prepared: PreparedEncoder
    tokenizer: PreTrainedTokenizerBase
    statistics: TokenStatistics
    """Of the training texts."""
    seconds_of_checks: float
    """Seconds in which its predictions were checked."""

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.prepared.model.name

    def as_record(self) -> dict[str, Any]:
        """Return what the record holds about the encoder before the first trial."""
        encoder, statistics = self.prepared.encoder, self.statistics
        return {
            "name": self.name,
            "digest": encoder.digest,
            "parameters": encoder.num_parameters,
            "bytes": encoder.num_bytes,
            "tokens_per_word": statistics.tokens_per_word,
            "unknown_share": statistics.unknown_share,
            "truncated_share": statistics.truncated_share,
        }


def check_encoders(
    models: Sequence[ModelConfig],
    data: PreparedData,
    *,
    tiny: Path,
    changes_dropout: bool,
    problems: Problems,
) -> dict[str, CheckedEncoder]:
    """Read, check and tokenise with each encoder; all problems are collected.

    Args:
        models: the encoders of the search, trial 0's first.
        data: rows and labels.
        tiny: directory of the tokenizer of `tiny`, which is learnt if it is missing.
        changes_dropout: whether some trial has another dropout than the encoder's own.
        problems: gets the lines of those that are not usable.

    Returns:
        The usable ones by name, in the order of `models`.
    """
    found = {}
    for model in models:
        checked = problems.attempt(partial(_check, model, data, tiny, problems))
        if checked is None:
            continue
        found[model.name] = checked
        if changes_dropout:
            problems.attempt(partial(check_has_dropout, checked.prepared.encoder, model.name))
    problems.attempt(partial(_check_memory, list(found.values())))
    return found


def _check(
    model: ModelConfig, data: PreparedData, tiny: Path, problems: Problems
) -> CheckedEncoder:
    if model.name == TINY and not tiny.is_dir():
        learn_tiny_tokenizer(model, data.train.texts, tiny)
    tokenizer = load_tokenizer(model, tiny=tiny)
    facts = facts_of(tokenizer)
    statistics = describe_tokens(tokenizer, data.train.texts, max_length=model.max_length)
    problems.attempt(lambda: _check_unknown(statistics, model.name))
    # Read here and sent to the workers, which need neither the hub nor the directory.
    encoder = read_encoder(model, labels=data.config.label_names, tokenizer=facts)
    some = data.train.texts[:_NUM_TRIED]
    check_tokenizer(tokenizer, encoder.config, some, max_length=model.max_length)
    texts = [*data.train.texts, *data.validation.texts]
    tokens = encode(tokenizer, texts, max_length=model.max_length)
    started = time.monotonic()
    check_encoder(encoder, model=model, tokenizer=facts, tokens=tokens)
    return CheckedEncoder(
        prepared=PreparedEncoder(model=model, tokenizer=facts, encoder=encoder, tokens=tokens),
        tokenizer=tokenizer,
        statistics=statistics,
        seconds_of_checks=time.monotonic() - started,
    )


def _check_unknown(statistics: TokenStatistics, name: str) -> None:
    if statistics.unknown_share > MOST_UNKNOWN:
        raise InputError(
            f"model.name: the tokenizer of {name!r} turns {statistics.unknown_share:.0%} of the"
            f" training tokens into [UNK], but at most {MOST_UNKNOWN:.0%} may be unknown; choose a"
            " model of this language and script"
        )


def _check_memory(encoders: Sequence[CheckedEncoder]) -> None:
    """Refuse encoders that fit into this machine's memory one by one, but not together."""
    needed = _COPIES * sum(one.prepared.encoder.num_bytes for one in encoders)
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if len(encoders) > 1 and needed > available:
        raise InputError(
            f"search.space.model: the weights of {len(encoders)} encoders need"
            f" {needed / 2**30:,.1f} GiB here, twice their size, but this machine has"
            f" {available / 2**30:,.1f} GiB of memory; search fewer encoders at once"
        )
