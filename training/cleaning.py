"""Check the columns of a table, and drop rows: incomplete, low confidence, duplicates.

The drops have a fixed order, and each check applies to the rows that are left: a row whose
labelling failed may hold anything in its confidence and label, and a row of low confidence anything
in its label.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from training.cells import matching_columns
from training.cli import excerpt, nearest
from training.columns import Columns
from training.config import DataConfig
from training.errors import InputError
from training.folding import fold_and_identity
from training.labels import Labels, name_of_code
from training.splits import SPLITS, Mask
from training.texts import Row

NO_TEXT_OR_LABEL = "no text or label"
ERROR = "error"
LOW_CONFIDENCE = "low confidence"
DROPPED_LABEL = "dropped label"
DUPLICATE = "duplicate"
CONFLICTING_LABELS = "conflicting labels"
DUPLICATE_OF_ANOTHER_SPLIT = "duplicate of another split"
GROUP_OF_ANOTHER_SPLIT = "in a group of another split"
GROUP_OF_AN_EARLIER_TEST = "in a group of an earlier test"
REASONS = (NO_TEXT_OR_LABEL, ERROR, LOW_CONFIDENCE, DUPLICATE, CONFLICTING_LABELS)
"""In the order in which rows are dropped."""
REASONS_OF_DROPPED_LABELS = (DROPPED_LABEL,)
"""A further reason where `drop_labels` names some."""
REASONS_OF_FIXED_SPLITS = (DUPLICATE_OF_ANOTHER_SPLIT, GROUP_OF_ANOTHER_SPLIT)
"""Further reasons where the file fixes the split."""

REASONS_OF_EARLIER_TESTS = (GROUP_OF_AN_EARLIER_TEST,)
"""A further reason where a search starts from earlier runs: these searched on the row."""

_SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)
_MOST_REPORTED = 5


@dataclass(frozen=True, kw_only=True)
class CleanTable:
    """The usable rows, in the order of their identities, and why the others were dropped.

    Every row has its own drop key, except in a test part that the file fixes.
    """

    rows: list[Row]
    reasons: list[str]
    """Why each input row was dropped, or an empty string."""
    low_confidence: list[Row]
    """Rows dropped only for low confidence, in the same order and with distinct drop keys."""
    label_noise: float | None
    """Share of the repeated texts whose labels disagree; None: no text is repeated."""
    notes: list[str]
    """Sentences about columns and labels whose spelling was normalised."""


def clean(table: Columns, config: DataConfig, problems: Sequence[str] = ()) -> CleanTable:
    """Drop unusable rows, each for the first reason that applies to it.

    The reasons, in order: no text or label (blank counts as none); a filled error cell; a
    confidence that is empty or below `min_confidence`, compared in float64; a label among
    `drop_labels`; a repeated text (equal drop keys), see `without_duplicates`.

    Args:
        table: the columns.
        config: names columns and labels; after problems with them some may be missing.
        problems: found while the table was read, which are reported with the others.

    Raises:
        InputError: with every problem found: a column is missing, a confidence is no number from
            0 to 1, a label or a split is unknown; or no row is left.
    """
    problems = [*problems, *_missing_columns(table, config), *_absent_labels(table, config)]
    texts = _cells(table, config.text_column)
    labels = _label_cells(table, config)
    reasons, confidences, found = _drop_unusable(table, config)
    problems += found
    used = reasons == ""
    known = Labels(config.label_names)
    codes = [known.code_of(label) for label in labels]
    if config.label_column in table.cells and known.names:
        problems += _unknown_labels(labels, codes, config, used)
    splits, found = _fixed_splits(table, config, used)
    problems += found
    if problems:
        raise InputError(*(f"{config.path}: {problem}" for problem in problems))

    group_keys = _cells(table, config.group_column)

    def rows_where(mask: Mask) -> list[Row]:
        return [
            Row(
                row=row,
                text=texts[row],
                folded=(keys := fold_and_identity(texts[row]))[0],
                identity=keys[1],
                label=_known(codes[row]),
                confidence=float(confidences[row]),
                key=group_keys[row].strip() or None,
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


def usable_labels(table: Columns, config: DataConfig) -> list[str]:
    """Return the label cells of the rows that are not dropped for another cell."""
    reasons, _, _ = _drop_unusable(table, config)
    labels = _label_cells(table, config)
    return [labels[row] for row in np.flatnonzero(reasons == "").tolist()]


def _drop_unusable(
    table: Columns, config: DataConfig
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.float64], list[str]]:
    """Return why each row is dropped (empty: it is not), the confidences, and their problems."""
    reasons = np.full(table.num_rows, "", dtype=object)

    def drop(reason: str, mask: Mask) -> None:
        reasons[(reasons == "") & mask] = reason

    # A column that is missing as a whole drops no rows, so that the other checks still see them.
    labels = _label_cells(table, config)
    for column, cells in (
        (config.text_column, _cells(table, config.text_column)),
        (config.label_column, labels),
    ):
        drop(NO_TEXT_OR_LABEL, _blank(cells) & (column in table.cells))
    drop(ERROR, ~_blank(_cells(table, config.error_column)))
    confidences, problems = _confidences(table, config, reasons == "")
    drop(LOW_CONFIDENCE, ~(confidences >= config.min_confidence))
    unwanted = Labels(config.drop_labels)
    drop(DROPPED_LABEL, np.array([unwanted.is_label(label) for label in labels], dtype=np.bool_))
    return reasons, confidences, problems


def columns_of(config: DataConfig) -> dict[str, str]:
    """Return the columns to read: {name: the option that names it}."""
    options = (
        *("text_column", "label_column", "confidence_column"),
        *("error_column", "group_column", "split_column"),
    )
    names = {option: getattr(config, option) for option in options}
    return {name: f"data.{option}" for option, name in names.items() if name is not None}


def without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], dict[int, str], float | None]:
    """Keep one row of each drop key, and none where the labels of a key disagree.

    Keep the row with the highest confidence (an empty one is the lowest), then with the smallest
    text; under fixed splits prefer a row of validation to one of train. Keep all rows that the file
    assigns to the test, whatever their labels, since its author decides what is tested; drop the
    other rows of their texts.

    Returns:
        The kept rows, by identity, label, confidence and text; {record number: reason} of the
        others; the share of the repeated texts whose labels disagree, None if no text is repeated.
    """
    kept: list[Row] = []
    reasons: dict[int, str] = {}
    num_repeated = num_conflicting = 0
    for _, equal in groupby(sorted(rows, key=_order), key=lambda row: row.identity):
        alike = list(equal)
        agree = len({row.label for row in alike}) == 1
        num_repeated += len(alike) > 1
        num_conflicting += not agree
        stay = [row for row in alike if row.split == "test"] or alike[:agree]
        kept += stay
        for row in alike[len(stay) :]:
            if not agree:
                reasons[row.row] = CONFLICTING_LABELS
            else:
                same = row.split == stay[0].split
                reasons[row.row] = DUPLICATE if same else DUPLICATE_OF_ANOTHER_SPLIT
    return kept, reasons, num_conflicting / num_repeated if num_repeated else None


def _order(row: Row) -> tuple[bytes, int, int, float, str, str, int]:
    """Return the sort key by which the first of equal texts is kept."""
    split = SPLITS.index(row.split) if row.split else 0
    # NaN cannot be ordered.
    confidence = -math.inf if math.isnan(row.confidence) else row.confidence
    return row.identity, -split, row.label, -confidence, row.text, row.key or "", row.row


def _nothing_left(reasons: Sequence[str], config: DataConfig) -> str:
    counts = Counter(reasons)
    dropped = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
    next_steps = {
        NO_TEXT_OR_LABEL: "check the names in data.text_column and data.label_column",
        ERROR: "set data.error_column to null if it holds no errors",
        LOW_CONFIDENCE: "lower data.min_confidence, or set data.confidence_column to null",
        CONFLICTING_LABELS: "give equal texts the same label",
    }
    most = counts.most_common(1)[0][0]
    return (
        f"{config.path}: no row is left of {len(reasons)} (dropped: {dropped}), but every class"
        f" needs some; {next_steps.get(most, 'add more rows')}"
    )


def _known(code: int | None) -> int:
    assert code is not None, "a row without a known label passed the checks"
    return code


def _notes(table: Columns, config: DataConfig, labels: Sequence[str]) -> Iterator[str]:
    """Describe the columns and labels whose spelling was normalised."""
    for name in table.cells:
        (column, *_) = (table.names[position] for position in matching_columns(name, table.names))
        if column != name:
            yield f"column {column!r} is read as {name!r}"
    if respelt := Labels(config.label_names).describe_respelt(labels):
        yield respelt


def _missing_columns(table: Columns, config: DataConfig) -> list[str]:
    listed = ", ".join(table.names[:20]) + (", ..." if len(table.names) > 20 else "")
    needed = ("data.text_column", "data.label_column")
    hints = {name: nearest(name, table.names, otherwise="") for name in columns_of(config)}
    return [
        f"no column '{name}' ({option}) among: {listed}; {hints[name]}{'; ' if hints[name] else ''}"
        f"set {option} to one of them{'' if option in needed else ', or to null if there is none'}"
        for name, option in columns_of(config).items()
        if name not in table.cells and option != "data.error_column"
    ]


def _absent_labels(table: Columns, config: DataConfig) -> Iterator[str]:
    """Yield a line for each label of `drop_labels` that no row has."""
    found = sorted({cell.strip() for cell in _label_cells(table, config)})
    for label in config.drop_labels:
        if not any(map(Labels([label]).is_label, found)):
            hint = nearest(label, found, otherwise="leave it out")
            yield f"data.drop_labels names '{label}', but no row has this label; {hint}"


def _cells(table: Columns, column: str | None) -> Sequence[str]:
    """Return the cells as text, empty where missing; all are empty if the column is missing."""
    return table.cells.get(column or "", [""] * table.num_rows)


def _label_cells(table: Columns, config: DataConfig) -> Sequence[str]:
    """Return the cells of the label column, codes as the names of their classes.

    Labels that the configuration gives and that are no names of classes are the codes themselves.
    """
    cells = _cells(table, config.label_column)
    names = table.class_names.get(config.label_column or "", ())
    if not names or not set(config.labels or ()) <= set(names):
        return cells
    return [name_of_code(cell, names) for cell in cells]


def _blank(cells: Sequence[str]) -> Mask:
    return np.array([not cell.strip() for cell in cells], dtype=np.bool_)


def _confidences(
    table: Columns, config: DataConfig, used: Mask
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return the confidences, float64 [rows], and the problems found.

    An empty cell is NaN. A cell that is not read or not valid is infinite, which passes every
    threshold, so that the label of its row is still checked.
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
    rule = "must be from 0 to 1, or empty; correct it, or set data.confidence_column to null"
    return values, _wrong_values(column, cells, wrong, lambda _: rule)


def _number(cell: str) -> float:
    """Return the value in float64, or NaN; "1_000", a number to Python, is none here."""
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
    listed = ", ".join(f"'{label}'" for label in config.label_names)

    def rule(value: str) -> str:
        others = "correct it, add it to the list, or put it into data.drop_labels"
        hint = nearest(value, config.label_names, otherwise=others)
        return f"must be one of data.labels ({listed}); {hint}"

    return _wrong_values(config.label_column or "", labels, wrong, rule)


def _labels_of_another_table(labels: Sequence[str], rows: Sequence[int], config: DataConfig) -> str:
    """Explain that no cell is a known label: the list or the column is not of this table."""
    found = sorted({labels[row].strip() for row in rows})
    listed = ", ".join(excerpt(label) for label in found[:_MOST_REPORTED])
    more = f", ... ({len(found):,} values)" if len(found) > _MOST_REPORTED else ""
    next_step = f"give them in order: --data.labels '[{listed}]'"
    if more:
        next_step = "set data.labels to its values in order, or data.label_column to another column"
    return (
        f"column '{config.label_column}' holds {listed}{more}, but none of them is in data.labels;"
        f" {next_step}"
    )


def _fixed_splits(
    table: Columns, config: DataConfig, used: Mask
) -> tuple[list[str | None], list[str]]:
    """Return the split of each row that the file fixes, and the problems found."""
    column = config.split_column
    if column is None or column not in table.cells:
        return [None] * table.num_rows, []
    cells = _cells(table, column)
    splits = [_SPLIT_NAMES.get(cell.strip().lower()) for cell in cells]
    wrong = [row for row in np.flatnonzero(used).tolist() if splits[row] is None]
    rule = "must be train, validation (val, valid, dev) or test; correct it"
    return splits, _wrong_values(column, cells, wrong, lambda _: rule)


def _wrong_values(
    column: str, cells: Sequence[str], wrong: Sequence[int], rule: Callable[[str], str]
) -> list[str]:
    """Return one line per distinct wrong value, for the first few."""
    rows_of: dict[str, list[int]] = {}
    for row in wrong:
        rows_of.setdefault(cells[row], []).append(row)
    lines = [
        f"column '{column}' is {excerpt(value)!r} in {len(rows)} row{'s' * (len(rows) > 1)}"
        f" ({_row_numbers(rows)}), but {rule(value)}"
        for value, rows in list(rows_of.items())[:_MOST_REPORTED]
    ]
    others = list(rows_of.values())[_MOST_REPORTED:]
    if others:
        lines.append(
            f"column '{column}' has {len(others)} other wrong values in"
            f" {sum(map(len, others))} more rows"
        )
    return lines


def _row_numbers(rows: Sequence[int]) -> str:
    """Name the first few rows, as `row 3` or `rows 3, 7, ...`."""
    listed = ", ".join(str(row) for row in rows[:_MOST_REPORTED])
    return f"row{'s' * (len(rows) > 1)} {listed}{', ...' * (len(rows) > _MOST_REPORTED)}"
