"""Does an encoder give a text one answer, alone, padded, beside any other, and cut short?

Asked before anything is trained, of the model itself at perturbed weights (`training.encoder`):
what differs by a text's neighbours makes each figure of a search depend on how rows were batched.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from training.batches import Padding, pad
from training.checkpoint import generator_states, restore_generators
from training.config import ModelConfig
from training.encoder import Encoder, perturb
from training.errors import InputError
from training.first_token import first_token_alone, reducible_layer
from training.model import TokenizerFacts
from training.tokens import Ids, TokenTable, from_rows

TOLERANCE = 1e-4
"""Largest difference between two probabilities, in float32, that are called equal."""

Probabilities = npt.NDArray[np.float64]

_EMPTY, _SHORT, _MIDDLE, _LONGEST = 0, 1, 2, 3


def check_encoder(
    encoder: Encoder, *, model: ModelConfig, tokenizer: TokenizerFacts, tokens: TokenTable
) -> None:
    """Check that the model answers alike whatever stands beside a row.

    Args:
        encoder: as it was read; a model of its own is built and perturbed.
        model: its configuration; a row of exactly `max_length` is tried.
        tokenizer: says how rows are padded.
        tokens: rows of the training data, at least one.

    Raises:
        InputError: one line: which two ways do not agree, by how much, and the way out.
    """
    rows = trial_rows(tokens, max_length=model.max_length)
    states = generator_states(torch.device("cpu"))
    try:
        built = encoder.build(0)
    finally:
        restore_generators(states, torch.device("cpu"))
    perturb(built, rows=torch.from_numpy(np.append(rows.ids, tokenizer.pad_token_id)).long())
    built.train(False)
    check_forward(built, rows, padding=tokenizer.padding, name=model.name)


def trial_rows(tokens: TokenTable, *, max_length: int) -> TokenTable:
    """Four rows made of real ones: no word, one word, a usual row, one of exactly `max_length`."""
    assert len(tokens), "there is no row to try"
    by_length = np.argsort(tokens.lengths, kind="stable")
    usual = tokens.row(int(by_length[len(tokens) // 2]))
    first, last = usual[:1], usual[-1:]
    words = _words(tokens, by_length[::-1][:max_length], max_length)
    rows = [np.concatenate([first, words[:num_words], last]) for num_words in (0, 1)]
    rows.append(usual[: max_length - 1])
    rows.append(np.concatenate([first, np.resize(words, max_length - 2), last]))
    return from_rows(rows)


def _words(tokens: TokenTable, indices: npt.NDArray[np.int64], most: int) -> Ids:
    """Ids from within rows; none of those that begin or end one, which stand there once."""
    found = []
    for index in indices:
        row = tokens.row(int(index))
        found.append(row[~np.isin(row, row[[0, -1]])])
        if sum(map(len, found)) >= most:
            break
    words = np.concatenate(found)
    return words if len(words) else tokens.row(int(indices[0]))


def check_forward(model: PreTrainedModel, rows: TokenTable, *, padding: Padding, name: str) -> None:
    """Check a model in evaluation mode on the rows that `trial_rows` gives.

    Raises:
        InputError: as `check_encoder`.
    """
    alone = [_alone(model, rows, row, padding, name) for row in range(len(rows))]
    padded, beside_longest = (_EMPTY, _SHORT, _MIDDLE), (_MIDDLE, _LONGEST)
    whole = _answers(model, rows, padded, padding)
    for batch, found in (
        (padded, whole),
        (beside_longest, _answers(model, rows, beside_longest, padding)),
    ):
        for row, answer in zip(batch, found, strict=True):
            if not _is_equal(answer, alone[row]):
                raise InputError(
                    f"model.name: {name!r} answers a text of {rows.lengths[row]} tokens otherwise"
                    f" beside one of {rows.lengths[batch[-1]]} tokens than alone"
                    f" ({describe_difference(answer, alone[row])});"
                    f" {_way_out(model, rows, batch, padding)}"
                )
    layer = reducible_layer(model)
    if layer is not None:
        with first_token_alone(layer):
            reduced = _answers(model, rows, padded, padding)
        if not _is_equal(reduced, whole):
            raise InputError(
                f"model.name: {name!r} answers otherwise where its last layer is computed for the"
                f" first token alone ({describe_difference(reduced, whole)}); choose an encoder"
                " such as BERT, and report this one"
            )


def describe_difference(found: Probabilities, expected: Probabilities) -> str:
    """The two probabilities that are furthest apart, for an error's line."""
    if found.shape != expected.shape:
        return f"{list(found.shape)} probabilities against {list(expected.shape)}"
    place = np.unravel_index(np.abs(found - expected).argmax(), found.shape)
    return f"probability {found[place]:.4f} against {expected[place]:.4f}"


def _alone(
    model: PreTrainedModel, rows: TokenTable, row: int, padding: Padding, name: str
) -> Probabilities:
    """The answer to one row, float64 [num_labels]."""
    length = int(rows.lengths[row])
    try:
        answer: Probabilities = _answers(model, rows, [row], padding)[0]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of no common class: whatever an architecture stumbles over
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        way_out = "choose an encoder such as BERT"
        if row == _LONGEST:
            way_out = f"set model.max_length below {length}, or {way_out}"
        raise InputError(
            f"model.name: {name!r} cannot classify a text of {length} tokens ({reason}); {way_out}"
        ) from error
    if not np.isfinite(answer).all():
        raise InputError(
            f"model.name: {name!r} gives a text of {length} tokens probabilities that are not"
            " finite; choose an encoder such as BERT"
        )
    return answer


def _answers(
    model: PreTrainedModel, rows: TokenTable, indices: Sequence[int], padding: Padding
) -> Probabilities:
    """Probabilities of a batch, computed in float32, as float64 [rows, num_labels]."""
    batch = pad(rows, np.asarray(indices, dtype=np.int64), padding=padding)
    with torch.inference_mode():
        logits = model(**batch).logits
    return np.asarray(torch.softmax(logits.float(), dim=-1).double().numpy())


def _is_equal(found: Probabilities, expected: Probabilities) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found - expected).max() <= TOLERANCE)  # never of what is not finite


def _way_out(
    model: PreTrainedModel, rows: TokenTable, batch: Sequence[int], padding: Padding
) -> str:
    """What to do about a model whose answers depend on padding."""
    other = replace(padding, is_left=not padding.is_left)
    alone = np.concatenate([_answers(model, rows, [row], other) for row in batch])
    if _is_equal(_answers(model, rows, batch, other), alone):
        now, then = ("left", "right") if padding.is_left else ("right", "left")
        return (
            f"its tokenizer pads on the {now}, but the model needs it on the {then}: set"
            f' "padding_side": "{then}" in its tokenizer_config.json'
        )
    return (
        "it does not leave padding out, as a model without an attention mask cannot; choose an"
        " encoder such as BERT"
    )
