"""Read a table, and recognise what the configuration leaves open: its columns and its labels.

A column that nobody names is recognised by its name alone. Where that fails, the error lists the
columns with what they hold, and guesses by their content which options to type.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.cells import matching_columns
from training.cleaning import columns_of, usable_labels
from training.cli import excerpt
from training.columns import Columns, Preview, read_columns, read_preview
from training.config import STUDY_LABELS, TEXT_COLUMN, DataConfig
from training.guessing import MOST_LABELS, describe_column, describe_columns, guess_columns
from training.labels import Labels, find_labels, lookalikes

_LABEL_COLUMN = "label"
_STUDY_LABEL_COLUMN = "final_label"
_MOST_OF = 0.5
"""Share of the label cells that must be the study's, so that the others are its misspelt ones."""


@dataclass(frozen=True, kw_only=True)
class RecognisedTable:
    """The columns of a table, and the configuration by which they are read."""

    columns: Columns
    """The columns that the configuration names."""
    config: DataConfig
    """Without problems its columns and labels are not null, and neither is `ordered`."""
    notes: list[str]
    """A sentence for each thing that was recognised."""
    problems: list[str]
    """An error line for each thing that was not."""


def read_table(path: Path, config: DataConfig) -> RecognisedTable:
    """Read the columns that a configuration names or leaves to be recognised.

    Args:
        path: local file of `config.path`.
        config: the section `data`; what it gives is never changed, except for a confidence column
            that nobody asked for and the table lacks.

    Raises:
        InputError: as `training.columns.read_columns`.
    """
    config, notes, problems = _with_columns(path, config)
    columns = _read(path, config)
    config, found = _without_absent_confidence(columns, config)
    notes += found
    if config.labels is None:
        config, found, wrong = _with_labels(path, columns, config)
        notes += found
        problems += wrong
        if columns.is_csv:  # again, since known labels reveal rows that a quote swallowed
            columns = _read(path, config)
    config = _with(config, ordered=config.is_ordered)
    return RecognisedTable(columns=columns, config=config, notes=notes, problems=problems)


def _read(path: Path, config: DataConfig) -> Columns:
    labels, column = config.labels, config.label_column
    return read_columns(
        path,
        columns_of(config),
        separator=config.separator,
        multiline=config.multiline or not labels,
        label=(column, Labels(labels).is_label) if labels and column else None,
    )


def _with(config: DataConfig, **fields: Any) -> DataConfig:
    return config.model_copy(update=fields)


_Found = tuple[DataConfig, list[str], list[str]]
"""The configuration with what was recognised, the notes and the problems."""


def _with_columns(path: Path, config: DataConfig) -> _Found:
    """Recognise the columns of text and label."""
    if config.text_column is not None and config.label_column is not None:
        return config, [], []
    wanted = (*columns_of(config), TEXT_COLUMN, _LABEL_COLUMN, _STUDY_LABEL_COLUMN)
    preview = read_preview(path, wanted, separator=config.separator)
    text = config.text_column or _named(TEXT_COLUMN, preview.names)
    label = config.label_column or _label_column(preview, config)
    config = _with(config, text_column=text, label_column=label)
    if text is None or label is None:
        return config, [], [_unrecognised(preview, text, label)]
    note = f"columns: texts are read from {text!r}, labels from {label!r}"
    return config, [note], []


def _named(name: str, names: Sequence[str]) -> str | None:
    """Return the column of this name; upper and lower case count only where both occur."""
    if matching_columns(name, names):
        return name
    alike = [column.strip() for column in names if column.strip().casefold() == name]
    return alike[0] if len(alike) == 1 else None


def _label_column(preview: Preview, config: DataConfig) -> str | None:
    study, plain = (_named(name, preview.names) for name in (_STUDY_LABEL_COLUMN, _LABEL_COLUMN))
    if study is None or plain is None:
        return study or plain
    labels = Labels(config.labels or STUDY_LABELS)
    return study if _share_of(labels, preview.cells(study)) > _MOST_OF else plain


def _share_of(labels: Labels, cells: Sequence[str]) -> float:
    """Return the share of the filled cells that name one of the labels."""
    filled = [cell for cell in cells if cell.strip()]
    return sum(map(labels.is_label, filled)) / max(len(filled), 1)


def _unrecognised(preview: Preview, text: str | None, label: str | None) -> str:
    """Explain which columns the table has, and which options to type."""
    guess = guess_columns(preview, text=text, label=label)
    options = []
    missing = []
    for field, found, best in (
        ("text_column", text, guess.text),
        ("label_column", label, guess.label),
    ):
        if found is None:
            missing.append(f"data.{field}")
            options.append(f"--data.{field} {'NAME' if best is None else shlex.quote(best)}")
    named = {"data.text_column": "'text'", "data.label_column": "'label'"}
    return (
        f"{' and '.join(missing)} must be given, since no column is named"
        f" {' or '.join(named[name] for name in missing)}; the columns are:"
        f" {describe_columns(preview, first=(guess.text, guess.label))}; add"
        f" {' '.join(options)}"
    )


def _without_absent_confidence(
    columns: Columns, config: DataConfig
) -> tuple[DataConfig, list[str]]:
    column = config.confidence_column
    if column is None or config.asks_for_confidence:
        return config, []
    if column in columns.cells:
        return _with(config, confidence_column=column), []  # from now on it must exist
    note = f"confidence: rows are not filtered by it, since the table has no column {column!r}"
    return _with(config, confidence_column=None), [note]


def _with_labels(path: Path, columns: Columns, config: DataConfig) -> _Found:
    """Find the labels of the table."""
    column = config.label_column or ""
    if column not in columns.cells:
        return _with(config, labels=()), [], []  # the column is reported
    cells = usable_labels(columns, config)
    is_study = column == _STUDY_LABEL_COLUMN
    if is_study and _share_of(Labels(STUDY_LABELS), cells) > _MOST_OF:
        note = "labels: those of the study, which are a scale"
        return _with(config, labels=STUDY_LABELS), [note], []
    counts, named = find_labels(cells), columns.class_names.get(column, ())
    if named:
        # In the order of the codes; a code without a name is an unknown label.
        counts = {name: counts[name] for name in named if name in counts} or dict.fromkeys(named, 0)
    if wrong := _wrong_labels(path, config, counts, are_named=bool(named)):
        return _with(config, labels=()), [], [wrong]
    return _with(config, labels=tuple(counts)), list(_describe_labels(column, counts, named)), []


def _describe_labels(column: str, counts: Mapping[str, int], named: Sequence[str]) -> Iterator[str]:
    listed = ", ".join(f"{name!r} {count:,}" for name, count in counts.items())
    where = "named in the file for" if named else "found in"
    yield f"labels: {len(counts)} {where} column {column!r}, with their rows: {listed}"
    for alike in lookalikes(counts):
        yield (
            f"labels: {' and '.join(map(repr, alike))} count as {len(alike)} labels, although they"
            " differ only in upper and lower case, blanks or Unicode form; if this is a mistake,"
            " correct the table"
        )


def _wrong_labels(
    path: Path, config: DataConfig, counts: Mapping[str, int], *, are_named: bool
) -> str:
    """Explain why the values of a column cannot be classes; empty: they can."""
    column = config.label_column
    if len(counts) == 1:
        ((name, count),) = counts.items()
        return (
            f"column {column!r} holds one label only ({name!r} in {count:,} rows),"
            f" but a classifier needs at least two; {_other_column(path, config)}"
        )
    if len(counts) > MOST_LABELS and not are_named:
        some = ", ".join(excerpt(name, 30) for name in list(counts)[:3])
        return (
            f"column {column!r} holds {len(counts):,} different values ({some},"
            f" ...), but {MOST_LABELS} labels at most are found by themselves: it is probably not"
            f" the column of the labels; {_other_column(path, config)}, or list its values in"
            " data.labels"
        )
    return ""


def _other_column(path: Path, config: DataConfig) -> str:
    """Return which column is more likely to hold the labels, as a next step."""
    preview = read_preview(path, list(columns_of(config)), separator=config.separator)
    best = guess_columns(preview, text=config.text_column, no_label=config.label_column).label
    if best is None:
        return "give another column by --data.label_column NAME"
    found = describe_column(preview, best)
    return f"more likely is {found}: --data.label_column {shlex.quote(best)}"
