"""Checks the columns of a table and drops, in one order, the rows that cannot be used.

Each check judges the rows that the drops before it left: a row whose labelling failed may hold
anything in its confidence and label, and a row of low confidence anything in its label.
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
from training.folding import drop_key, fold_and_identity
from training.labels import Labels
from training.near_duplicates import group_texts
from training.splits import SPLITS, choose_held_out
from training.texts import Row

DUPLICATE = "duplicate"
CONFLICTING_LABELS = "conflicting labels"
DUPLICATE_OF_ANOTHER_SPLIT = "duplicate of another split"


def without_duplicates(rows: Sequence[Row]) -> tuple[list[Row], dict[int, str], float | None]:
    """Keep one row of each drop key, and none where its labels disagree.

    The row of the highest confidence is kept (one without confidence comes last), then of the
    smallest text; under fixed splits a row of validation before train. Rows that the file gives to
    the test all stay, whatever their labels: it is for its maker to say what is tested. A text that
    stands among them is dropped elsewhere.

    Returns:
        Rows kept, by identity, label, confidence and text; {record number: reason} of the others;
        share of the texts standing more than once whose labels disagree, None where no text does.
    """
    kept: list[Row] = []
    reasons: dict[int, str] = {}
    num_repeated = num_conflicting = 0
    for _, standing in groupby(sorted(rows, key=_order), key=lambda row: row.identity):
        alike = list(standing)
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
    """The first of equal texts is kept; of rows that nothing tells apart the number decides."""
    split = SPLITS.index(row.split) if row.split else 0
    # NaN has no place in an order.
    confidence = -math.inf if math.isnan(row.confidence) else row.confidence
    return row.identity, -split, row.label, -confidence, row.text, row.key or "", row.row


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
    hints = {name: nearest(name, table.names, otherwise="") for name in columns_of(config)}
    return [
        f"no column '{name}' ({option}) among: {listed}; {hints[name]}{'; ' if hints[name] else ''}"
        f"set {option} to one of them{'' if option in needed else ', or to null if there is none'}"
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
        hint = nearest(value, config.labels, otherwise="correct it, or add it to the list")
        return f"must be one of data.labels ({listed}); {hint}"

    return _wrong_values(config.label_column, labels, wrong, rule)


def _labels_of_another_table(labels: Sequence[str], rows: Sequence[int], config: DataConfig) -> str:
    """No cell is a label: the list is not of this table, or the column is another."""
    found = sorted({labels[row].strip() for row in rows})
    shown = ", ".join(excerpt(label) for label in found[:_SHOWN])
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
        f"column '{column}' is {excerpt(value)!r} in {len(rows)} row{'s' * (len(rows) > 1)}"
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


Indices = npt.NDArray[np.int64]

_PURPOSE = "low confidence"


def choose_low_confidence(
    low: Sequence[Row],
    kept: Sequence[Row],
    groups: Indices,
    is_test: Mask,
    config: DataConfig,
) -> tuple[list[Row], Indices]:
    """Choose the rows of low confidence to test apart, as the test itself was chosen.

    Rows are grouped anew, those of low confidence among the kept ones; the split of the kept rows
    stands as it is. A row of low confidence whose group holds a row of train or validation is left
    out, since the model learnt from its like; one whose group holds test rows alone comes with
    them; of the others whole groups are drawn as the test was, with the same share and seed. Where
    the file fixes the split, only rows that it gives to the test come, save those with a like in
    train or validation.

    Args:
        low: rows dropped for low confidence alone (an empty confidence counts as low) whose label
            is known; no two of one drop key where the split is drawn.
        kept: rows of train, validation and test.
        groups: int64 [kept], the groups that the split kept whole.
        is_test: bool [kept].
        config: of the split.

    Returns:
        The rows, in the order of `low`, and their groups, int64 [rows]: that of the test rows
        beside them, else a number that no kept row has.
    """
    if not low:
        return [], np.zeros(0, dtype=np.int64)
    rows = [*kept, *low]
    # A text without letters is held to be like another by its own characters.
    component = group_texts(
        [row.folded or drop_key(row.text) for row in rows],
        [row.key for row in rows],
        threshold=config.near_duplicate_threshold,
        seed=config.split_seed,
    )
    of_kept, of_low = component[: len(kept)], component[len(kept) :]
    learnt = np.isin(of_low, of_kept[~is_test])
    if config.split_column is not None:
        wanted = np.array([row.split == "test" for row in low])
    else:
        wanted = np.isin(of_low, of_kept)
        free = np.flatnonzero(~wanted)
        wanted[free] = _draw([low[place] for place in free.tolist()], of_low[free], config)
    chosen = np.flatnonzero(wanted & ~learnt)
    number = groups.max() + 1 + np.arange(component.max() + 1)
    np.minimum.at(number, of_kept, groups)
    return [low[place] for place in chosen.tolist()], number[of_low[chosen]]


def _draw(rows: Sequence[Row], groups: Indices, config: DataConfig) -> Mask:
    return choose_held_out(
        [row.identity for row in rows],
        groups,
        np.array([row.label for row in rows], dtype=np.int64),
        share=config.test_size,
        seed=config.split_seed,
        purpose=_PURPOSE,
    )
