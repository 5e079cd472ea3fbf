"""Check that an encoder's predictions do not depend on padding or on other rows of the batch.

The check runs before training, on the model itself with perturbed weights (`training.encoder`). If
it failed, every score of a search would depend on how rows were divided into batches.
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
from training.inference import TOLERANCE, Probabilities
from training.model import TokenizerFacts
from training.tokens import Ids, TokenTable, from_rows

_EMPTY, _SHORT, _MIDDLE, _LONGEST = 0, 1, 2, 3


def check_encoder(
    encoder: Encoder, *, model: ModelConfig, tokenizer: TokenizerFacts, tokens: TokenTable
) -> None:
    """Check that the predictions of a row do not depend on the other rows of its batch.

    Args:
        encoder: is built and perturbed for the check.
        model: its configuration; one of the rows has exactly `max_length` tokens.
        tokenizer: states how rows are padded.
        tokens: rows of the training data, at least one.

    Raises:
        InputError: two predictions differ; the message states them and what to do.
    """
    rows = probe_rows(tokens, max_length=model.max_length)
    states = generator_states(torch.device("cpu"))
    try:
        built = encoder.build(0)
    finally:
        restore_generators(states, torch.device("cpu"))
    perturb(built, rows=torch.from_numpy(np.append(rows.ids, tokenizer.pad_token_id)).long())
    built.train(False)
    check_forward(built, rows, padding=tokenizer.padding, name=model.name)


def probe_rows(tokens: TokenTable, *, max_length: int) -> TokenTable:
    """Make four rows from real ones: no word, one word, a usual row, one of `max_length` tokens."""
    assert len(tokens), "there are no rows"
    by_length = np.argsort(tokens.lengths, kind="stable")
    usual = tokens.row(int(by_length[len(tokens) // 2]))
    first, last = usual[:1], usual[-1:]
    words = _words(tokens, by_length[::-1][:max_length], max_length)
    rows = [np.concatenate([first, words[:num_words], last]) for num_words in (0, 1)]
    rows.append(usual[: max_length - 1])
    rows.append(np.concatenate([first, np.resize(words, max_length - 2), last]))
    return from_rows(rows)


def _words(tokens: TokenTable, indices: npt.NDArray[np.int64], most: int) -> Ids:
    """Return ids from the middle of rows, without those that start or end a row."""
    found = []
    for index in indices:
        row = tokens.row(int(index))
        found.append(row[~np.isin(row, row[[0, -1]])])
        if sum(map(len, found)) >= most:
            break
    words = np.concatenate(found)
    return words if len(words) else tokens.row(int(indices[0]))


def check_forward(model: PreTrainedModel, rows: TokenTable, *, padding: Padding, name: str) -> None:
    """Check a model in evaluation mode on the rows of `probe_rows`, as `check_encoder` does.

    Raises:
        InputError: two predictions differ.
    """
    alone = [_predict_alone(model, rows, row, padding, name) for row in range(len(rows))]
    padded, beside_longest = (_EMPTY, _SHORT, _MIDDLE), (_MIDDLE, _LONGEST)
    whole = _predict(model, rows, padded, padding)
    for batch, found in (
        (padded, whole),
        (beside_longest, _predict(model, rows, beside_longest, padding)),
    ):
        for row, prediction in zip(batch, found, strict=True):
            if not _is_equal(prediction, alone[row]):
                raise InputError(
                    f"model.name: {name!r} classifies a text of {rows.lengths[row]} tokens"
                    f" differently beside one of {rows.lengths[batch[-1]]} tokens than alone"
                    f" ({describe_difference(prediction, alone[row])});"
                    f" {_remedy(model, rows, batch, padding)}"
                )
    layer = reducible_layer(model)
    if layer is not None:
        with first_token_alone(layer):
            reduced = _predict(model, rows, padded, padding)
        if not _is_equal(reduced, whole):
            raise InputError(
                f"model.name: {name!r} classifies differently if its last layer is computed for the"
                f" first token alone ({describe_difference(reduced, whole)}); choose an encoder"
                " such as BERT, and report this one"
            )


def describe_difference(found: Probabilities, expected: Probabilities) -> str:
    """Describe the two probabilities that differ most, for an error line."""
    if found.shape != expected.shape:
        return f"{list(found.shape)} probabilities against {list(expected.shape)}"
    index = np.unravel_index(np.abs(found - expected).argmax(), found.shape)
    return f"probability {found[index]:.4f} against {expected[index]:.4f}"


def _predict_alone(
    model: PreTrainedModel, rows: TokenTable, row: int, padding: Padding, name: str
) -> Probabilities:
    """Return the probabilities of one row in a batch of its own, float64 [num_labels]."""
    length = int(rows.lengths[row])
    try:
        prediction: Probabilities = _predict(model, rows, [row], padding)[0]
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # architectures share no class of errors
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        remedy = "choose an encoder such as BERT"
        if row == _LONGEST:
            remedy = f"set model.max_length below {length}, or {remedy}"
        raise InputError(
            f"model.name: {name!r} cannot classify a text of {length} tokens ({reason}); {remedy}"
        ) from error
    if not np.isfinite(prediction).all():
        raise InputError(
            f"model.name: {name!r} predicts probabilities that are not finite for a text of"
            f" {length} tokens; choose an encoder such as BERT"
        )
    return prediction


def _predict(
    model: PreTrainedModel, rows: TokenTable, indices: Sequence[int], padding: Padding
) -> Probabilities:
    """Return the probabilities of a batch, computed in float32, as float64 [rows, num_labels]."""
    batch = pad(rows, np.asarray(indices, dtype=np.int64), padding=padding)
    with torch.inference_mode():
        logits = model(**batch).logits
    return np.asarray(torch.softmax(logits.float(), dim=-1).double().numpy())


def _is_equal(found: Probabilities, expected: Probabilities) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found - expected).max() <= TOLERANCE)  # false for values that are not finite


def _remedy(
    model: PreTrainedModel, rows: TokenTable, batch: Sequence[int], padding: Padding
) -> str:
    """Return what to do about a model whose predictions depend on padding."""
    other = replace(padding, is_left=not padding.is_left)
    alone = np.concatenate([_predict(model, rows, [row], other) for row in batch])
    if _is_equal(_predict(model, rows, batch, other), alone):
        now, then = ("left", "right") if padding.is_left else ("right", "left")
        return (
            f"its tokenizer pads on the {now}, but the model needs padding on the {then}: set"
            f' "padding_side": "{then}" in its tokenizer_config.json'
        )
    return (
        "it does not ignore padding, perhaps because it has no attention mask; choose an encoder"
        " such as BERT"
    )
