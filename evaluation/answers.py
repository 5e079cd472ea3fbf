"""Answered rows out of `evaluation.predict`: CSV, JSON Lines or Parquet.

Own columns pass through as they were written where the format stays the same. A column that has
one of our names comes out as `input_<name>`, with as many `input_` before it as make it unlike
all others.
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


_OWN_COLUMNS = ("label", "error")
_ROWS_A_GROUP = 65_536
_BYTES_A_GROUP = 2**25


class AnswerWriter(Protocol):
    """Writes the rows of a table, each with its answer."""

    def write(self, chunk: Chunk, answers: RowAnswers) -> int:
        """Write some rows; return how many of them have an error."""

    def close(self) -> None:
        """Write what is left; the file stays open."""


def make_writer(
    file: BinaryIO,
    kind: Format,
    separator: str,
    table: Table,
    first: Chunk | None,
    names: Sequence[str],
) -> AnswerWriter:
    """A writer of answers.

    Args:
        file: for bytes.
        kind: what is written.
        separator: between the cells of a CSV.
        table: that is read.
        first: its first rows, which say the columns of JSON Lines; None: there are no rows.
        names: of the labels, in the order of their codes.

    Raises:
        InputError: two columns of the table have one name, and the format has room for one.
    """
    columns = list(table.columns if first is None else first.columns)
    if not (kind == table.format or kind == "csv") and len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(
            f"{table.where}: the column name {twice!r} stands twice, but in the output's format"
            " each must stand once; rename one, or write CSV"
        )
    new = [_OWN_COLUMNS[0], *(f"p_{name}" for name in names), _OWN_COLUMNS[1]]
    if kind == "csv":
        return _CsvWriter(file, separator, columns, new)
    if kind == "jsonl":
        return _JsonLinesWriter(file, new)
    return _ParquetWriter(file, table, columns, new)


class _CsvWriter:
    """Cells in the quotes that they need, whole lines at a time.

    What a row has besides the columns of the header comes out in its `error`, since a header that
    is written cannot grow.
    """

    def __init__(
        self, file: BinaryIO, separator: str, columns: Sequence[str], new: Sequence[str]
    ) -> None:
        self._file, self._separator, self._columns = file, separator, list(columns)
        self._needs_quotes = re.compile(f'[{re.escape(separator)}"\r\n]')
        own = [free_name(name, new, columns) for name in columns]
        self._flush_lines([[*own, *new]])
        self._num_labels = len(new) - len(_OWN_COLUMNS)

    def write(self, chunk: Chunk, answers: RowAnswers) -> int:
        """Write some rows; return how many of them have an error."""
        errors = _with_leftovers(chunk, answers, self._columns)
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
                    answers.labels,
                    answers.probabilities,
                    errors,
                    strict=True,
                )
            ]
        )
        return sum(map(bool, errors))

    def close(self) -> None:
        """Nothing is left."""

    def _flush_lines(self, rows: Sequence[Sequence[str]]) -> None:
        lines = (self._separator.join(map(self._quoted, row)) for row in rows)
        _flush(self._file, "".join(f"{line}\n" for line in lines))

    def _quoted(self, cell: str) -> str:
        # Python's writer leaves a carriage return bare where lines end with a line feed.
        quoted = self._needs_quotes.search(cell)
        return '"' + cell.replace('"', '""') + '"' if quoted else cell


class _JsonLinesWriter:
    """Own keys and values as they were written, then the answer's."""

    def __init__(self, file: BinaryIO, new: Sequence[str]) -> None:
        self._file, self._new = file, new

    def write(self, chunk: Chunk, answers: RowAnswers) -> int:
        """Write some rows; return how many of them have an error."""
        own = self._own(chunk)
        empty = [""] * (len(self._new) - len(_OWN_COLUMNS))
        lines = []
        for before, label, shares, error in zip(
            own, answers.labels, answers.probabilities, answers.errors, strict=True
        ):
            values = [label, *(empty if shares is None else shares), error]
            ours = json.dumps(dict(zip(self._new, values, strict=True)), ensure_ascii=False)
            lines.append(f"{{{before}, {ours[1:]}\n" if before else f"{ours}\n")
        _flush(self._file, "".join(lines))
        return sum(map(bool, answers.errors))

    def close(self) -> None:
        """Nothing is left."""

    def _own(self, chunk: Chunk) -> list[str]:
        """The members of each row, without braces."""
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
    """Typed columns stay as they are; those of CSV and JSON Lines are text."""

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

    def write(self, chunk: Chunk, answers: RowAnswers) -> int:
        """Take some rows; return how many of them have an error."""
        errors = answers.errors
        if isinstance(chunk, ParquetChunk):
            own = chunk.batch.columns
        else:
            errors = _with_leftovers(chunk, answers, self._columns)
            rows = chunk.texts(self._columns)
            own = [
                self._pa.array([_storable(row[place]) for row in rows], self._pa.string())
                for place in range(len(self._columns))
            ]
        num_shares = len(self._schema) - len(own) - len(_OWN_COLUMNS)
        values = [
            [label or None for label in answers.labels],
            *(
                [None if row is None else row[place] for row in answers.probabilities]
                for place in range(num_shares)
            ),
            [_storable(error) for error in errors],
        ]
        fields = list(self._schema)[len(own) :]
        arrays = [
            self._pa.array(column, field.type) for column, field in zip(values, fields, strict=True)
        ]
        self._waiting.append(self._pa.RecordBatch.from_arrays([*own, *arrays], schema=self._schema))
        num_bytes = sum(batch.nbytes for batch in self._waiting)
        if sum(map(len, self._waiting)) >= _ROWS_A_GROUP or num_bytes >= _BYTES_A_GROUP:
            self._write_group()
        return sum(map(bool, errors))

    def close(self) -> None:
        """Write what is left, and the footer."""
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writer.write_table(self._pa.Table.from_batches(waiting))


def free_name(name: str, new: Collection[str], own: Collection[str]) -> str:
    """The name that a column of the input comes out under, beside the new ones."""
    free = name
    while free.strip() in new or (free != name and free in own):
        free = f"input_{free}"
    return free


def _with_leftovers(chunk: Chunk, answers: RowAnswers, columns: Sequence[str]) -> list[str]:
    """The errors, each with what its row has no column for."""
    if not isinstance(chunk, JsonChunk):
        return list(answers.errors)
    known = frozenset(columns)
    told = []
    for error, row in zip(answers.errors, chunk.members(), strict=True):
        beyond = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)}: {value}"
            for name, value in row
            if name not in known
        )
        without = f"no column for {{{beyond}}}" if beyond else ""
        told.append("; ".join(filter(None, (error, without))))
    return told


def _storable(text: str | None) -> str | None:
    """Half of a surrogate pair comes out as its escape, which in JSON means the same again."""
    return None if text is None else text.encode(errors="backslashreplace").decode()


def _flush(file: BinaryIO, lines: str) -> None:
    with _interrupt_waits():
        file.write(lines.encode(errors="backslashreplace"))
        file.flush()


@contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Hold Ctrl-C back, so that it cuts no line; a second one is obeyed at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
