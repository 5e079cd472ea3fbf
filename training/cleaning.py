"""Checks the columns of a table and drops, in one order, the rows that cannot be used.

Each check judges the rows that the drops before it left: a row whose labelling failed may hold
anything in its confidence and label, and a row of low confidence anything in its label.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.cells import matching_columns
from training.columns import Columns, nearest
from training.config import DataConfig
from training.duplicates import (
    CONFLICTING_LABELS,
    DUPLICATE,
    DUPLICATE_OF_ANOTHER_SPLIT,
    without_duplicates,
)
from training.errors import InputError
from training.folding import fold_and_identity
from training.label_codes import Labels
from training.splits import SPLITS
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
    """Usable rows, in the order of their identities, and what became of the rest.

    No two have one drop key, save in a test part that the file fixes.
    """

    rows: list[Row]
    reasons: list[str]
    """Why each input row was dropped, or an empty string."""
    low_confidence: list[Row]
    """Rows dropped for low confidence that are usable otherwise, likewise ordered, no two alike."""
    label_noise: float | None
    """Share of the texts standing more than once whose labels disagree; None: no such text."""
    notes: list[str]
    """What was read otherwise than it is written: a sentence each."""


def clean(table: Columns, config: DataConfig) -> CleanTable:
    """Drop, in this order, and count under the first reason that holds for a row.

    No text or label (blank counts as none); a filled error cell; a confidence that is empty or
    below `min_confidence`, compared in float64; texts that stand twice (of equal drop keys): the
    row of the highest confidence, then of the smallest text, is kept, and none when labels
    disagree. Under `split_column` all rows of the test part stay, and a text that stands in it
    loses its other rows; else it keeps its row of validation before train.

    Raises:
        InputError: with every problem found: a column is missing, a confidence is no number from
            0 to 1, a label or a split is unknown; or no row is left.
    """
    problems = _missing_columns(table, config)
    texts = _cells(table, config.text_column)
    labels = _cells(table, config.label_column)
    reasons = np.full(table.num_rows, "", dtype=object)

    def drop(reason: str, mask: Mask) -> None:
        reasons[(reasons == "") & mask] = reason

    # Where a whole column is missing, the checks of the others still want rows to judge.
    for column, cells in ((config.text_column, texts), (config.label_column, labels)):
        drop(NO_TEXT_OR_LABEL, _blank(cells) & (column in table.cells))
    drop(ERROR, ~_blank(_cells(table, config.error_column)))
    confidences, found = _confidences(table, config, reasons == "")
    problems += found
    drop(LOW_CONFIDENCE, ~(confidences >= config.min_confidence))
    used = reasons == ""
    known = Labels(config.labels)
    codes = [known.code_of(label) for label in labels]
    if config.label_column in table.cells:
        problems += _unknown_labels(labels, codes, config, used)
    splits, found = _fixed_splits(table, config, used)
    problems += found
    if problems:
        raise InputError(*(f"{config.path}: {problem}" for problem in problems))

    keys = _cells(table, config.group_column)

    def rows_where(mask: Mask) -> list[Row]:
        return [
            Row(
                row=row,
                text=texts[row],
                folded=(told := fold_and_identity(texts[row]))[0],
                identity=told[1],
                label=_known(codes[row]),
                confidence=float(confidences[row]),
                key=keys[row].strip() or None,
                split=splits[row],
            )
            for row in np.flatnonzero(mask).tolist()
        ]

    # A row of low confidence may hold anything in its label and its split.
    readable = [
        code is not None and (config.split_column is None or split is not None)
        for code, split in zip(codes, splits, strict=True)
    ]
    low, _, _ = without_duplicates(rows_where((reasons == LOW_CONFIDENCE) & readable))
    kept, repeated, noise = without_duplicates(rows_where(used))
    for row, reason in repeated.items():
        reasons[row] = reason
    if not kept:
        raise InputError(_nothing_left(reasons.tolist(), config))
    return CleanTable(
        rows=kept,
        reasons=reasons.tolist(),
        low_confidence=low,
        label_noise=noise,
        notes=list(_notes(table, config, [labels[row] for row in np.flatnonzero(used).tolist()])),
    )


def _nothing_left(reasons: Sequence[str], config: DataConfig) -> str:
    counts = Counter(reasons)
    dropped = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
    ways_out = {
        NO_TEXT_OR_LABEL: "see whether data.text_column and data.label_column name the right ones",
        ERROR: "set data.error_column to null if it holds no errors",
        LOW_CONFIDENCE: "lower data.min_confidence, or set data.confidence_column to null",
        CONFLICTING_LABELS: "label equal texts alike",
    }
    most = counts.most_common(1)[0][0]
    return (
        f"{config.path}: no row is left of {len(reasons)} (dropped: {dropped}), but every class"
        f" needs some; {ways_out.get(most, 'give more rows')}"
    )


def _known(code: int | None) -> int:
    assert code is not None, "a row without a known label got past the checks"
    return code


def _notes(table: Columns, config: DataConfig, labels: Sequence[str]) -> Iterator[str]:
    """What was read otherwise than it is written."""
    for name in table.cells:
        (column, *_) = (table.names[place] for place in matching_columns(name, table.names))
        if column != name:
            yield f"column {column!r} is read as {name!r}"
    if respelt := Labels(config.labels).describe_respelt(labels):
        yield respelt


def columns_of(config: DataConfig) -> dict[str, str]:
    """The columns that are read: {name: the option that names it}."""
    options = (
        *("text_column", "label_column", "confidence_column"),
        *("error_column", "group_column", "split_column"),
    )
    names = {option: getattr(config, option) for option in options}
    return {name: f"data.{option}" for option, name in names.items() if name is not None}


def _missing_columns(table: Columns, config: DataConfig) -> list[str]:
    listed = ", ".join(table.names[:20]) + (", ..." if len(table.names) > 20 else "")
    needed = ("data.text_column", "data.label_column")
    return [
        f"no column '{name}' ({option}) among: {listed}{nearest(name, table.names)}; set {option}"
        f" to one that is there{'' if option in needed else ', or to null if there is none'}"
        for name, option in columns_of(config).items()
        if name not in table.cells and option != "data.error_column"
    ]


def _cells(table: Columns, column: str | None) -> Sequence[str]:
    """The cells as text, empty where missing, and everywhere if there is no such column."""
    return table.cells.get(column or "", [""] * table.num_rows)


def _blank(cells: Sequence[str]) -> Mask:
    return np.array([not cell.strip() for cell in cells], dtype=np.bool_)


def _confidences(
    table: Columns, config: DataConfig, used: Mask
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """float64 [rows] and problems; empty is NaN; infinite where unread or a problem.

    Infinite is above every bound: such a row stays, so that its label is checked all the same.
    """
    values = np.full(table.num_rows, np.inf)
    column = config.confidence_column
    if column is None or column not in table.cells:
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


def _unknown_labels(
    labels: Sequence[str], codes: Sequence[int | None], config: DataConfig, used: Mask
) -> list[str]:
    wrong = [row for row in np.flatnonzero(used).tolist() if codes[row] is None]
    if len(wrong) == np.count_nonzero(used) and wrong:
        return [_labels_of_another_table(labels, wrong, config)]
    listed = ", ".join(f"'{label}'" for label in config.labels)

    def rule(value: str) -> str:
        hint = nearest(value, config.labels)
        return f"must be one of data.labels ({listed}){hint or '; mend it, or add it to the list'}"

    return _wrong_values(config.label_column, labels, wrong, rule)


def _labels_of_another_table(labels: Sequence[str], rows: Sequence[int], config: DataConfig) -> str:
    """No cell is a label: the list is not of this table, or the column is another."""
    found = sorted({labels[row].strip() for row in rows})
    shown = ", ".join(shorten(label) for label in found[:_SHOWN])
    more = f", ... ({len(found):,} values)" if len(found) > _SHOWN else ""
    way_out = f"give them in order: --data.labels '[{shown}]'"
    if more:
        way_out = "set data.labels to its values in order, or data.label_column to another column"
    return (
        f"column '{config.label_column}' holds {shown}{more}, but none of them is in data.labels;"
        f" {way_out}"
    )


def _fixed_splits(
    table: Columns, config: DataConfig, used: Mask
) -> tuple[list[str | None], list[str]]:
    """The split that the file gives each row, and problems."""
    column = config.split_column
    if column is None or column not in table.cells:
        return [None] * table.num_rows, []
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
