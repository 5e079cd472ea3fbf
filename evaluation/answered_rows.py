"""Texts and their classes: what the model says of each row's text, or why it says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.cells import Cell, Unreadable
from training.classifier import PLAIN_TEXT, Classifier

# The machine's, not a text's: they end the command.
_ENVIRONMENT = (OSError, MemoryError, torch.OutOfMemoryError)


class ModelBrokenError(RuntimeError):
    """The model answered before and now answers nothing: the machine's fault, in one line."""


@dataclass(frozen=True, kw_only=True)
class RowAnswers:
    """What the model says of the rows of a chunk, in their order."""

    labels: Sequence[str]
    """The most probable label; empty where there is an error: [rows]."""
    probabilities: Sequence[Sequence[float] | None]
    """Of each class; None where there is an error: [rows][num_labels]."""
    errors: Sequence[str]
    """Why a row has no label; empty where it has one: [rows]."""


def answer(classifier: Classifier, cells: Sequence[Cell], errors: Sequence[str]) -> RowAnswers:
    """Classify texts; none is left out.

    A text that alone breaks the model has that as its error; the others are answered.

    Args:
        classifier: of the texts.
        cells: the text of each row.
        errors: why a row is none; empty where it is sound.

    Raises:
        ModelBrokenError: the model no longer classifies any text.
    """
    found: list[npt.NDArray[np.float64] | str] = [
        error or _why_unusable(cell) for cell, error in zip(cells, errors, strict=True)
    ]
    usable = [place for place, why in enumerate(found) if not why]
    answers = _classify(classifier, [str(cells[place]) for place in usable])
    for place, told in zip(usable, answers, strict=True):
        found[place] = told
    names = classifier.names
    return RowAnswers(
        labels=["" if isinstance(row, str) else names[int(row.argmax())] for row in found],
        probabilities=[None if isinstance(row, str) else row.tolist() for row in found],
        errors=[row if isinstance(row, str) else "" for row in found],
    )


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


def _why_unusable(cell: Cell) -> str:
    if isinstance(cell, Unreadable):
        return f"the text must be text, not {cell.kind}"
    return "" if cell is not None and cell.strip() else "no text"
