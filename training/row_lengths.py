"""Whether a model takes rows of every length that it will be given: proven on rows, not on fields.

Fields of a configuration say it in too many ways to be believed: `max_position_embeddings` is -1
where there is no limit, counts from the padding id in some architectures, and is exceeded without
harm where positions are relative; some models take no short rows, others one length alone.
"""

from typing import Any

import torch
from transformers import PreTrainedModel

from training.config import ModelConfig
from training.errors import InputError


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
