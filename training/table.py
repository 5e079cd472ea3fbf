"""Read tables in chunks of rows: CSV, JSON Lines or Parquet, plain, .gz, .bz2 or .zst.

No other module reads tables. A search reads whole columns and refuses a table with broken rows;
`evaluation.predict` reads chunk by chunk and writes the error of a broken row into its output.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from training.cells import Cell, Unreadable, matching_columns
from training.csv_rows import CsvRow, CsvRows, LabelColumn, find_separator
from training.errors import InputError
from training.table_bytes import Format, Source, encoding_problem, open_source
from training.typed_rows import (
    JsonRow,
    cells_of_array,
    class_names,
    json_of_array,
    kind_without_text,
    open_parquet,
    read_batches,
    read_json_rows,
    text_of_array,
)

_CHUNK_ROWS = 1024
_CHUNK_CHARACTERS = 1_000_000

Row = TypeVar("Row")


@dataclass(frozen=True)
class Chunk(ABC):
    """Consecutive rows of a table."""

    columns: Sequence[str]
    """Names as they are written; only a CSV may have a name twice."""
    lines: Sequence[int]
    """The first line of each row, from 1, or its row number in a Parquet file: [rows]."""
    errors: Sequence[str]
    """Why each row is broken; empty where it is sound: [rows]."""

    @abstractmethod
    def cells(self, column: str) -> list[Cell]:
        """Return the cell of each row in a column, None where it has none: [rows]."""

    @abstractmethod
    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Return each row as the cells of these columns, as text: [rows][columns]."""

    @abstractmethod
    def members(self) -> list[list[tuple[str, str]]]:
        """Return each row as (name, value as JSON); numbers of JSON are kept as written."""

    def text_of_row(self, index: int) -> str:
        """Return the text of a broken row, for messages."""
        return ""


@dataclass(frozen=True)
class CsvChunk(Chunk):
    """Rows of a CSV."""

    rows: Sequence[CsvRow]

    def cells(self, column: str) -> list[Cell]:
        """Return None for an empty cell."""
        position = next(iter(matching_columns(column, self.columns)), -1)
        return [
            row.cells[position] or None if 0 <= position < len(row.cells) else None
            for row in self.rows
        ]

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Fill a row that is too short with empty cells."""
        names = list(self.columns)
        positions = range(len(names)) if names == columns else [names.index(n) for n in columns]
        return [
            [row.cells[i] if i < len(row.cells) else "" for i in positions] for row in self.rows
        ]

    def members(self) -> list[list[tuple[str, str]]]:
        """Return every value as a string."""
        return [
            [
                (name, json.dumps(cell, ensure_ascii=False))
                for name, cell in zip(self.columns, cells, strict=True)
            ]
            for cells in self.texts(self.columns)
        ]

    def text_of_row(self, index: int) -> str:
        """Join its cells."""
        return "".join(self.rows[index].cells)


@dataclass(frozen=True)
class JsonChunk(Chunk):
    """Rows of JSON Lines; each row has its own keys."""

    rows: Sequence[JsonRow]

    def cells(self, column: str) -> list[Cell]:
        """Return numbers and truth values as they were written."""
        name = column.strip()
        found = ([m for m in row.members if m.name.strip() == name] for row in self.rows)
        return [
            Unreadable("two values") if len(members) > 1 else members[0].cell if members else None
            for members in found
        ]

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Return None where a row lacks the key."""
        found = ({m.name: m.text for m in row.members} for row in self.rows)
        return [[values.get(name) for name in columns] for values in found]

    def members(self) -> list[list[tuple[str, str]]]:
        """Return values as they were written."""
        return [[(m.name, m.raw) for m in row.members] for row in self.rows]

    def text_of_row(self, index: int) -> str:
        """Return its line."""
        return self.rows[index].text


@dataclass(frozen=True)
class ParquetChunk(Chunk):
    """Rows of Parquet."""

    batch: Any
    """A `pyarrow.RecordBatch`."""

    def cells(self, column: str) -> list[Cell]:
        """Write typed values as text."""
        (position, *_) = matching_columns(column, self.columns)
        return cells_of_array(self.batch.column(position))

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Write lists and structs as JSON."""
        positions = [list(self.columns).index(name) for name in columns]
        found = [text_of_array(self.batch.column(position)) for position in positions]
        return [list(row) for row in zip(*found, strict=True)] or [[] for _ in self.lines]

    def members(self) -> list[list[tuple[str, str]]]:
        """Write numbers, lists and structs as JSON."""
        values = [json_of_array(column) for column in self.batch.columns]
        return [list(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]


@dataclass(kw_only=True)
class Table:
    """An open table."""

    source: Source
    columns: Sequence[str]
    """Names as written; for JSON Lines those of the first rows, which may not be all."""
    separator: str | None
    """Separator of a CSV."""
    chunks: Iterator[Chunk]
    """All rows, which can be read once."""
    schema: Any = None
    """The `pyarrow.Schema` of a Parquet file."""
    _rows: CsvRows | None = None

    @property
    def where(self) -> str:
        """The start of every message."""
        return self.source.where

    @property
    def format(self) -> Format:
        """The format: CSV, JSON Lines or Parquet."""
        return self.source.format

    def column(self, name: str, option: str) -> str | None:
        """Return the column with this name, as it is written; None: there is none.

        Raises:
            InputError: several columns have the name.
        """
        found = [self.columns[position] for position in matching_columns(name, self.columns)]
        if len(found) > 1:
            raise InputError(
                f"{self.where}: {len(found)} columns are named {name.strip()!r} ({option}), but"
                " each name must be unique; rename one of them"
            )
        return found[0] if found else None

    def kind_without_text(self, column: str) -> str | None:
        """Name the type of a Parquet column that cannot hold text; None: it can."""
        if self.schema is None:
            return None
        return kind_without_text(self.schema.field(column).type)

    def class_names(self, column: str) -> Sequence[str]:
        """Return the names of the classes whose codes a Parquet column holds; else nothing."""
        return () if self.schema is None else class_names(self.schema).get(column, ())

    def watch_labels(self, column: str, is_label: Callable[[str], bool]) -> None:
        """Treat a known label inside a quoted cell as a sign that the cell swallowed rows."""
        if self._rows is not None:
            self._rows.watch(LabelColumn(position=self.columns.index(column), is_label=is_label))

    def encoding_problem(self, line: int, text: str) -> str:
        """Explain what to do about a line that is not UTF-8."""
        return encoding_problem(self.source, line, text)

    def describe(self) -> str:
        """Describe its format in words."""
        names = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
        separated = f" separated by {self.separator!r}" if self.separator else ""
        return f"{names[self.format]}{separated}"


@contextmanager
def open_table(
    file: Any,
    *,
    name: str,
    where: str,
    wanted: Sequence[str],
    separator: str | None = None,
    multiline: bool = False,
    only_wanted: bool = False,
) -> Iterator[Table]:
    """Open a table: read its header now and its rows on demand.

    Args:
        file: opened unbuffered for bytes.
        name: of the file; its ending decides between CSV and JSON Lines; `-`: no ending.
        where: start of every message.
        wanted: names of columns, by which the separator of a CSV is found.
        separator: of a CSV; None: find it.
        multiline: whether quoted cells may hold lines that are rows by themselves.
        only_wanted: whether to read only the wanted columns of a Parquet file.

    Raises:
        InputError: the file is empty, no table, damaged or in another encoding.
    """
    with open_source(file, name=name, where=where) as source:
        if source.format == "csv":
            mark = separator or find_separator(source.head, wanted)
            rows = CsvRows(source, separator=mark, multiline=multiline)
            chunks = (_csv_chunk(rows.header, part) for part in _parts(rows, _size_of_csv))
            yield Table(
                source=source, columns=rows.header, separator=mark, chunks=chunks, _rows=rows
            )
        elif source.format == "jsonl":
            parts = map(_json_chunk, _parts(read_json_rows(source), lambda row: len(row.text)))
            first = next(parts, None)
            sound = [row for row in first.rows if not row.error] if first else []
            columns = _json_chunk(sound).columns
            start = iter([] if first is None else [first])
            yield Table(source=source, columns=columns, separator=None, chunks=chain(start, parts))
        else:
            yield _open_parquet(source, wanted, only_wanted=only_wanted)


def _csv_chunk(header: Sequence[str], rows: Sequence[CsvRow]) -> CsvChunk:
    return CsvChunk(header, [row.line for row in rows], [row.error for row in rows], rows)


def _json_chunk(rows: Sequence[JsonRow]) -> JsonChunk:
    columns = list(dict.fromkeys(m.name for row in rows for m in row.members))
    return JsonChunk(columns, [row.line for row in rows], [row.error for row in rows], rows)


def _size_of_csv(row: CsvRow) -> int:
    return sum(map(len, row.cells))


def _parts(rows: Iterable[Row], size_of: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Split rows into lists that fit in memory, however long their texts are."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += size_of(row)
        if len(part) >= _CHUNK_ROWS or size >= _CHUNK_CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _open_parquet(source: Source, wanted: Sequence[str], *, only_wanted: bool) -> Table:
    file = open_parquet(source)
    names = list(file.schema_arrow.names)
    positions = None
    if only_wanted:
        positions = sorted({found for name in wanted for found in matching_columns(name, names)})

    def chunks() -> Iterator[Chunk]:
        first = 1
        for batch in read_batches(source, file, positions, _CHUNK_ROWS):
            lines = range(first, first + len(batch))
            yield ParquetChunk(batch.schema.names, lines, [""] * len(batch), batch)
            first += len(batch)

    return Table(
        source=source, columns=names, separator=None, chunks=chunks(), schema=file.schema_arrow
    )
