"""Predict the rows of a table and write them with their labels: CSV, JSON Lines or Parquet.

If the format stays the same, the columns of the input are copied as they were written. A column of
the input with the name of a new column is renamed to `input_<name>`, with as many `input_` as make
it unique.
"""

import json
import re
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import torch

from training.cells import Cell, Unreadable
from training.classifier import PLAIN_TEXT, Classifier
from training.errors import InputError
from training.table import Chunk, JsonChunk, ParquetChunk, Table
from training.table_bytes import Format

# Errors of the machine and not of a text: they end the command.
_ENVIRONMENT = (OSError, MemoryError, torch.OutOfMemoryError)


class ModelBrokenError(RuntimeError):
    """The model worked before and now fails for every text: a fault of the machine."""


@dataclass(frozen=True, kw_only=True)
class RowPredictions:
    """Predictions on the rows of a chunk, in their order."""

    labels: Sequence[str]
    """The most probable label; empty for a row with an error: [rows]."""
    probabilities: Sequence[Sequence[float] | None]
    """Probability of each class; None for a row with an error: [rows][num_labels]."""
    errors: Sequence[str]
    """Why a row has no label; empty for a row with a label: [rows]."""


def predict_rows(
    classifier: Classifier, cells: Sequence[Cell], errors: Sequence[str]
) -> RowPredictions:
    """Classify the text of every row; no row is left out.

    If the model fails on one text, that row gets the error and the others are classified.

    Args:
        classifier: the model.
        cells: the text of each row.
        errors: why a row could not be read; empty for a row without a problem.

    Raises:
        ModelBrokenError: the model no longer classifies any text.
    """
    found: list[npt.NDArray[np.float64] | str] = [
        error or _why_unusable(cell) for cell, error in zip(cells, errors, strict=True)
    ]
    usable = [index for index, problem in enumerate(found) if not problem]
    results = _classify(classifier, [str(cells[index]) for index in usable])
    for index, result in zip(usable, results, strict=True):
        found[index] = result
    names = classifier.names
    return RowPredictions(
        labels=["" if isinstance(row, str) else names[int(row.argmax())] for row in found],
        probabilities=[None if isinstance(row, str) else row.tolist() for row in found],
        errors=[row if isinstance(row, str) else "" for row in found],
    )


def _classify(classifier: Classifier, texts: Sequence[str]) -> list[npt.NDArray[np.float64] | str]:
    """Return for each text its probabilities, float64 [num_labels], or why it has none."""
    if not texts:
        return []
    try:
        found = classifier.probabilities(texts)
    except _ENVIRONMENT:
        raise
    except Exception as error:  # torch, onnxruntime and tokenizers have no common class
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        if len(texts) > 1:
            half = len(texts) // 2
            return [*_classify(classifier, texts[:half]), *_classify(classifier, texts[half:])]
        _check_still_works(classifier, reason)
        return [f"the model cannot classify this text ({reason})"]
    return [row if np.isfinite(row).all() else "the model gives no finite number" for row in found]


def _check_still_works(classifier: Classifier, reason: str) -> None:
    try:
        classifier.probabilities([PLAIN_TEXT])
    except Exception as error:
        raise ModelBrokenError(
            f"the model fails for every text since an error ({reason}), but must classify each; the"
            " earlier rows are written; run it again with --backend onnx, which needs no GPU"
        ) from error


def _why_unusable(cell: Cell) -> str:
    if isinstance(cell, Unreadable):
        return f"the text must be text, not {cell.kind}"
    return "" if cell is not None and cell.strip() else "no text"


_OWN_COLUMNS = ("label", "error")
_ROWS_PER_GROUP = 65_536
_BYTES_PER_GROUP = 2**25


class RowWriter(Protocol):
    """Writer of the rows of a table with their predictions."""

    def write(self, chunk: Chunk, predictions: RowPredictions) -> int:
        """Write some rows; return how many of them have an error."""

    def close(self) -> None:
        """Write the remaining rows; the file stays open."""


def make_writer(
    file: BinaryIO,
    kind: Format,
    separator: str,
    table: Table,
    first: Chunk | None,
    names: Sequence[str],
) -> RowWriter:
    """Return a writer for a format.

    Args:
        file: the output, for bytes.
        kind: the format of the output.
        separator: the separator of a CSV output.
        table: the table that is read.
        first: its first rows, which define the columns of JSON Lines; None if there are no rows.
        names: names of the labels, in the order of their codes.

    Raises:
        InputError: two columns of the table have the same name, which the format does not allow.
    """
    columns = list(table.columns if first is None else first.columns)
    if not (kind == table.format or kind == "csv") and len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(
            f"{table.where}: two columns have the name {twice!r}, but names must be unique in the"
            " format of the output; rename one, or write CSV"
        )
    new = [_OWN_COLUMNS[0], *(f"p_{name}" for name in names), _OWN_COLUMNS[1]]
    if kind == "csv":
        return _CsvWriter(file, separator, columns, new)
    if kind == "jsonl":
        return _JsonLinesWriter(file, new)
    return _ParquetWriter(file, table, columns, new)


class _CsvWriter:
    """Write CSV in complete lines; cells are quoted only if necessary.

    Values of a row that have no column in the header are written in its `error`, since the header
    cannot change once it is written.
    """

    def __init__(
        self, file: BinaryIO, separator: str, columns: Sequence[str], new: Sequence[str]
    ) -> None:
        self._file, self._separator, self._columns = file, separator, list(columns)
        self._needs_quotes = re.compile(f'[{re.escape(separator)}"\r\n]')
        own = [free_name(name, new, columns) for name in columns]
        self._flush_lines([[*own, *new]])
        self._num_labels = len(new) - len(_OWN_COLUMNS)

    def write(self, chunk: Chunk, predictions: RowPredictions) -> int:
        """Write some rows; return how many of them have an error."""
        errors = _with_leftovers(chunk, predictions, self._columns)
        empty = [""] * self._num_labels
        self._flush_lines(
            [
                [
                    *("" if cell is None else cell for cell in cells),
                    label,
                    *(empty if shares is None else map(repr, shares)),
                    error,
                ]
                for cells, label, shares, error in zip(
                    chunk.texts(self._columns),
                    predictions.labels,
                    predictions.probabilities,
                    errors,
                    strict=True,
                )
            ]
        )
        return sum(map(bool, errors))

    def close(self) -> None:
        """Do nothing: every row is written at once."""

    def _flush_lines(self, rows: Sequence[Sequence[str]]) -> None:
        lines = (self._separator.join(map(self._quoted, row)) for row in rows)
        _flush(self._file, "".join(f"{line}\n" for line in lines))

    def _quoted(self, cell: str) -> str:
        # Python's writer does not quote a carriage return if lines end with a line feed.
        quoted = self._needs_quotes.search(cell)
        return '"' + cell.replace('"', '""') + '"' if quoted else cell


class _JsonLinesWriter:
    """Write JSON Lines: keys and values of the input as they were written, then the prediction."""

    def __init__(self, file: BinaryIO, new: Sequence[str]) -> None:
        self._file, self._new = file, new

    def write(self, chunk: Chunk, predictions: RowPredictions) -> int:
        """Write some rows; return how many of them have an error."""
        own = self._own(chunk)
        empty = [""] * (len(self._new) - len(_OWN_COLUMNS))
        lines = []
        for before, label, shares, error in zip(
            own, predictions.labels, predictions.probabilities, predictions.errors, strict=True
        ):
            values = [label, *(empty if shares is None else shares), error]
            ours = json.dumps(dict(zip(self._new, values, strict=True)), ensure_ascii=False)
            lines.append(f"{{{before}, {ours[1:]}\n" if before else f"{ours}\n")
        _flush(self._file, "".join(lines))
        return sum(map(bool, predictions.errors))

    def close(self) -> None:
        """Do nothing: every row is written at once."""

    def _own(self, chunk: Chunk) -> list[str]:
        """Return the members of each row as JSON, without braces."""
        clash = any(name.strip() in self._new for name in chunk.columns)
        if isinstance(chunk, JsonChunk) and not clash:
            return [
                self._joined(row_members) if row.error else row.text[1:-1].strip()
                for row, row_members in zip(chunk.rows, chunk.members(), strict=True)
            ]
        return [self._joined(row_members) for row_members in chunk.members()]

    def _joined(self, members: Sequence[tuple[str, str]]) -> str:
        names = [name for name, _ in members]
        return ", ".join(
            f"{json.dumps(free_name(name, self._new, names), ensure_ascii=False)}: {value}"
            for name, value in members
        )


class _ParquetWriter:
    """Write Parquet: typed columns keep their types; columns of CSV and JSON Lines become text."""

    def __init__(
        self, file: BinaryIO, table: Table, columns: Sequence[str], new: Sequence[str]
    ) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa, self._columns = pa, list(columns)
        label, *shares, error = new
        own = [free_name(name, new, columns) for name in columns]
        kinds = [field.type for field in table.schema] if table.schema else [pa.string()] * len(own)
        fields = [
            *zip(own, kinds, strict=True),
            (label, pa.string()),
            *((name, pa.float64()) for name in shares),
            (error, pa.string()),
        ]
        metadata = table.schema.metadata if table.schema else None
        self._schema = pa.schema(fields, metadata=metadata)
        self._writer = pq.ParquetWriter(file, self._schema)
        self._waiting: list[Any] = []

    def write(self, chunk: Chunk, predictions: RowPredictions) -> int:
        """Collect some rows and write full groups; return how many rows have an error."""
        errors = predictions.errors
        if isinstance(chunk, ParquetChunk):
            own = chunk.batch.columns
        else:
            errors = _with_leftovers(chunk, predictions, self._columns)
            rows = chunk.texts(self._columns)
            own = [
                self._pa.array([_storable(row[index]) for row in rows], self._pa.string())
                for index in range(len(self._columns))
            ]
        num_shares = len(self._schema) - len(own) - len(_OWN_COLUMNS)
        values = [
            [label or None for label in predictions.labels],
            *(
                [None if row is None else row[code] for row in predictions.probabilities]
                for code in range(num_shares)
            ),
            [_storable(error) for error in errors],
        ]
        fields = list(self._schema)[len(own) :]
        arrays = [
            self._pa.array(column, field.type) for column, field in zip(values, fields, strict=True)
        ]
        self._waiting.append(self._pa.RecordBatch.from_arrays([*own, *arrays], schema=self._schema))
        num_bytes = sum(batch.nbytes for batch in self._waiting)
        if sum(map(len, self._waiting)) >= _ROWS_PER_GROUP or num_bytes >= _BYTES_PER_GROUP:
            self._write_group()
        return sum(map(bool, errors))

    def close(self) -> None:
        """Write the remaining rows and the footer."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writer.write_table(self._pa.Table.from_batches(waiting))


def free_name(name: str, new: Collection[str], own: Collection[str]) -> str:
    """Return the name of a column of the input in the output, distinct from the new columns."""
    free = name
    while free.strip() in new or (free != name and free in own):
        free = f"input_{free}"
    return free


def _with_leftovers(chunk: Chunk, predictions: RowPredictions, columns: Sequence[str]) -> list[str]:
    """Return the errors, and add to each the values of its row that have no column."""
    if not isinstance(chunk, JsonChunk):
        return list(predictions.errors)
    known = frozenset(columns)
    errors = []
    for error, row in zip(predictions.errors, chunk.members(), strict=True):
        leftovers = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)}: {value}"
            for name, value in row
            if name not in known
        )
        addition = f"no column for {{{leftovers}}}" if leftovers else ""
        errors.append("; ".join(filter(None, (error, addition))))
    return errors


def _storable(text: str | None) -> str | None:
    """Write half of a surrogate pair as its escape, which means the same in JSON."""
    return None if text is None else text.encode(errors="backslashreplace").decode()


def _flush(file: BinaryIO, lines: str) -> None:
    with _interrupt_waits():
        file.write(lines.encode(errors="backslashreplace"))
        file.flush()


@contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Delay Ctrl-C, so that no line is truncated; a second Ctrl-C ends the command at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def delay(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = signal.signal(signal.SIGINT, delay)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt
