"""Checks the columns of a table and drops, in one order, the rows that cannot be used.

Each check judges the rows that the drops before it left: a row whose labelling failed may hold
anything in its confidence and label, and a row of low confidence anything in its label.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.config import DataConfig
from training.duplicates import (
    CONFLICTING_LABELS,
    DUPLICATE,
    DUPLICATE_OF_ANOTHER_SPLIT,
    without_duplicates,
)
from training.errors import InputError
from training.folding import fold, identity
from training.splits import SPLITS
from training.table import nearest
from training.texts import Row

NO_TEXT_OR_LABEL = "no text or label"
ERROR = "error"
LOW_CONFIDENCE = "low confidence"
GROUP_OF_ANOTHER_SPLIT = "in a group of another split"
REASONS = (NO_TEXT_OR_LABEL, ERROR, LOW_CONFIDENCE, DUPLICATE, CONFLICTING_LABELS)
"""In the order in which they are judged."""
REASONS_OF_FIXED_SPLITS = (DUPLICATE_OF_ANOTHER_SPLIT, GROUP_OF_ANOTHER_SPLIT)
"""These only where the file fixes the split."""

_SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)
_SHOWN = 5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class CleanTable:
    """Usable rows, in the order of their identities, no two alike; and what became of the rest."""

    rows: list[Row]
    reasons: list[str]
    """Why each input row was dropped, or an empty string."""
    low_confidence: list[Row]
    """Rows dropped for low confidence that are usable otherwise, likewise ordered, no two alike."""
    label_noise: float | None
    """Share of the texts standing more than once whose labels disagree; None: no such text."""


def clean(table: pd.DataFrame, config: DataConfig) -> CleanTable:
    """Drop, in this order, and count under the first reason that holds for a row.

    No text or label (blank counts as none); a filled error cell; a confidence that is empty or
    below `min_confidence`, compared in float64; texts that stand twice once folded: the row of
    the highest confidence, then of the smallest text, is kept, and none when labels disagree.
    Under `split_column` a text keeps its row of the test part before validation before train.

    Raises:
        InputError: with every problem found: a column is missing, a confidence is no number from
            0 to 1, a label or a split is unknown; or no row is left.
    """
    problems = _missing_columns(table, config)
    texts = _cells(table, config.text_column)
    labels = _cells(table, config.label_column)
    reasons = np.full(len(table), "", dtype=object)

    def drop(reason: str, mask: Mask) -> None:
        reasons[(reasons == "") & mask] = reason

    # Where a whole column is missing, the checks of the others still want rows to judge.
    for column, cells in ((config.text_column, texts), (config.label_column, labels)):
        drop(NO_TEXT_OR_LABEL, _blank(cells) & (column in table))
    drop(ERROR, ~_blank(_cells(table, config.error_column)))
    confidences, found = _confidences(table, config, reasons == "")
    problems += found
    drop(LOW_CONFIDENCE, ~(confidences >= config.min_confidence))
    used = reasons == ""
    if config.label_column in table:
        problems += _unknown_labels(labels, config, used)
    splits, found = _fixed_splits(table, config, used)
    problems += found
    if problems:
        raise InputError(*(f"{config.path}: {problem}" for problem in problems))

    numbers = {label: number for number, label in enumerate(config.labels)}
    keys = _cells(table, config.group_column)

    def rows_where(mask: Mask) -> list[Row]:
        return [
            Row(
                row=row,
                text=texts[row],
                folded=(folded := fold(texts[row])),
                identity=identity(folded or texts[row]),
                label=numbers[labels[row]],
                confidence=float(confidences[row]),
                key=keys[row].strip() or None,
                split=splits[row],
            )
            for row in np.flatnonzero(mask).tolist()
        ]

    # A row of low confidence may hold anything in its label and its split.
    readable = [
        label in numbers and (config.split_column is None or split is not None)
        for label, split in zip(labels, splits, strict=True)
    ]
    low, _, _ = without_duplicates(rows_where((reasons == LOW_CONFIDENCE) & readable))
    kept, repeated, noise = without_duplicates(rows_where(used))
    for row, reason in repeated.items():
        reasons[row] = reason
    if not kept:
        counts = Counter(reasons.tolist())
        dropped = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
        raise InputError(
            f"{config.path}: no row is left of {len(table)} (dropped: {dropped}), but every class"
            " needs some; lower data.min_confidence, or set a filter's column to null"
        )
    return CleanTable(rows=kept, reasons=reasons.tolist(), low_confidence=low, label_noise=noise)


def _missing_columns(table: pd.DataFrame, config: DataConfig) -> list[str]:
    columns = [str(name) for name in table.columns]
    wanted = {
        "text_column": config.text_column,
        "label_column": config.label_column,
        "confidence_column": config.confidence_column,
        "group_column": config.group_column,
        "split_column": config.split_column,
    }
    listed = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    separator = next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), None)
    separated = f"; its cells seem separated by {separator!r}: use commas" if separator else ""
    needed = ("text_column", "label_column")
    return [
        f"no column '{name}' (data.{field}) among: {listed}{nearest(name, columns)}"
        f"{separated or f'; set data.{field} to one that is there'}"
        f"{'' if field in needed or separated else ', or to null if there is none'}"
        for field, name in wanted.items()
        if name is not None and name not in columns
    ]


def _cells(table: pd.DataFrame, column: str | None) -> list[str]:
    """The cells as text, empty where missing, and everywhere if there is no such column."""
    if column is None or column not in table:
        return [""] * len(table)
    values = table[column]
    return [
        "" if missing else str(cell) for cell, missing in zip(values, values.isna(), strict=True)
    ]


def _blank(cells: Sequence[str]) -> Mask:
    return np.array([not cell.strip() for cell in cells], dtype=np.bool_)


def _confidences(
    table: pd.DataFrame, config: DataConfig, used: Mask
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """float64 [rows] and problems; empty is NaN; infinite where unread or a problem.

    Infinite is above every bound: such a row stays, so that its label is checked all the same.
    """
    values = np.full(len(table), np.inf)
    column = config.confidence_column
    if column is None or column not in table:
        return values, []
    cells = _cells(table, column)
    wrong = []
    for row in np.flatnonzero(used).tolist():
        value = _number(cells[row])
        if 0 <= value <= 1 or not cells[row].strip():
            values[row] = value
        else:
            wrong.append(row)
    rule = "must be a number from 0 to 1, or empty; mend it, or set data.confidence_column to null"
    return values, _wrong_values(column, cells, wrong, lambda _: rule)


def _number(cell: str) -> float:
    """The value in float64, or NaN; Python also takes "1_000", which no table means."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _unknown_labels(labels: Sequence[str], config: DataConfig, used: Mask) -> list[str]:
    known = set(config.labels)
    wrong = [row for row in np.flatnonzero(used).tolist() if labels[row] not in known]
    listed = ", ".join(f"'{label}'" for label in config.labels)

    def rule(value: str) -> str:
        hint = nearest(value, config.labels)
        return f"must be one of data.labels ({listed}){hint or '; mend it, or add it to the list'}"

    return _wrong_values(config.label_column, labels, wrong, rule)


def _fixed_splits(
    table: pd.DataFrame, config: DataConfig, used: Mask
) -> tuple[list[str | None], list[str]]:
    """The split that the file gives each row, and problems."""
    column = config.split_column
    if column is None or column not in table:
        return [None] * len(table), []
    cells = _cells(table, column)
    splits = [_SPLIT_NAMES.get(cell.strip().lower()) for cell in cells]
    wrong = [row for row in np.flatnonzero(used).tolist() if splits[row] is None]
    rule = "must be train, validation (val, valid, dev) or test; mend it"
    return splits, _wrong_values(column, cells, wrong, lambda _: rule)


def _wrong_values(
    column: str, cells: Sequence[str], wrong: Sequence[int], rule: Callable[[str], str]
) -> list[str]:
    """One line a distinct value, for the first few."""
    rows_of: dict[str, list[int]] = {}
    for row in wrong:
        rows_of.setdefault(cells[row], []).append(row)
    lines = [
        f"column '{column}' is {shorten(value)!r} in {len(rows)} row{'s' * (len(rows) > 1)}"
        f" ({row_numbers(rows)}), but {rule(value)}"
        for value, rows in list(rows_of.items())[:_SHOWN]
    ]
    others = list(rows_of.values())[_SHOWN:]
    if others:
        lines.append(
            f"column '{column}' has {len(others)} other wrong values in"
            f" {sum(map(len, others))} more rows"
        )
    return lines


def row_numbers(rows: Sequence[int]) -> str:
    """The first few row numbers, as `row 3` or `rows 3, 7, ...`."""
    shown = ", ".join(str(row) for row in rows[:_SHOWN])
    return f"row{'s' * (len(rows) > 1)} {shown}{', ...' * (len(rows) > _SHOWN)}"


def shorten(text: str, length: int = 60) -> str:
    """The text in one line of at most `length` characters."""
    line = " ".join(text.split()) if len(text.split()) > 1 else text
    return line if len(line) <= length else line[: length - 3] + "..."
