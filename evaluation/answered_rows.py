"""Rows and their classes: each row of a table with what the model says of its text, or why not."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evaluation.classifier import PLAIN_TEXT, Classifier
from evaluation.rows import InputRow

_OWN_COLUMNS = ("label", "error")
# The machine's, not a text's: they end the command.
_ENVIRONMENT = (OSError, MemoryError, torch.OutOfMemoryError)


class ModelBrokenError(RuntimeError):
    """The model answered before and now answers nothing: the machine's fault, in one line."""


def answer_rows(
    classifier: Classifier, rows: Sequence[InputRow], column: str
) -> Iterator[Mapping[str, Any]]:
    """Each row with its own columns, `label`, `p_<class>` and `error`; none is left out.

    A column of the input that has one of these names comes out as `input_<name>`, with as many
    `input_` before it as make it unlike all others. A text that alone breaks the model has that
    as its error; the others are answered.

    Raises:
        ModelBrokenError: the model no longer classifies any text.
    """
    names = classifier.names
    new = _new_columns(names)
    errors = [row.error or _why_unusable(row.cells.get(column)) for row in rows]
    usable = [n for n, error in enumerate(errors) if not error]
    texts = [str(rows[n].cells[column]) for n in usable]
    found = dict(zip(usable, _classify(classifier, texts), strict=True))
    for number, row in enumerate(rows):
        own = {_free_name(key, new, row.cells): value for key, value in row.cells.items()}
        yield {**own, **_answer(names, found.get(number, errors[number]))}


def answered_columns(names: Sequence[str], rows: Iterable[Collection[str]]) -> list[str]:
    """Columns of the answers: those of the rows (each given as its own), then the new ones."""
    new = _new_columns(names)
    own = dict.fromkeys(_free_name(key, new, cells) for cells in rows for key in cells)
    return [*own, *new]


def _new_columns(names: Sequence[str]) -> list[str]:
    first, last = _OWN_COLUMNS
    return [first, *(f"p_{name}" for name in names), last]


def _answer(names: Sequence[str], found: npt.NDArray[np.float64] | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {**dict.fromkeys(_new_columns(names), ""), "error": found}
    shares = {f"p_{name}": share for name, share in zip(names, found.tolist(), strict=True)}
    return {"label": names[int(found.argmax())], **shares, "error": ""}


def _classify(classifier: Classifier, texts: Sequence[str]) -> list[npt.NDArray[np.float64] | str]:
    """For each text its probabilities, float64 [num_labels], or why it has none."""
    if not texts:
        return []
    try:
        found = classifier.probabilities(texts)
    except _ENVIRONMENT:
        raise
    except Exception as error:  # of no common class: torch, onnxruntime, tokenizers
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        if len(texts) > 1:
            half = len(texts) // 2
            return [*_classify(classifier, texts[:half]), *_classify(classifier, texts[half:])]
        _check_still_answers(classifier, reason)
        return [f"the model cannot classify this text ({reason})"]
    return [row if np.isfinite(row).all() else "the model gives no finite number" for row in found]


def _check_still_answers(classifier: Classifier, reason: str) -> None:
    try:
        classifier.probabilities([PLAIN_TEXT])
    except Exception as error:
        raise ModelBrokenError(
            f"the model answers nothing any more ({reason}); the rows before are written; try"
            " again with --backend onnx, which needs no GPU"
        ) from error


def _free_name(name: str, new: Collection[str], own: Collection[str]) -> str:
    free = name
    while free in new or (free != name and free in own):
        free = f"input_{free}"
    return free


def _why_unusable(text: object) -> str:
    if isinstance(text, dict | list | bool):
        return f"the text must be text, not {type(text).__name__}"
    if text is None or not str(text).strip():
        return "no text"
    return ""
