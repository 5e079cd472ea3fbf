"""Reads tables, some rows at a time: CSV, JSON Lines or Parquet, plain, .gz, .bz2 or .zst.

The one reader of whatever has rows. A search reads its columns whole and refuses what is broken;
`evaluation.predict` goes through a file and answers what is broken in its place.
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
from training.typed_rows import JsonRow, read_json_rows

_ROWS_AT_ONCE = 1024
_CHARACTERS_AT_ONCE = 1_000_000

Row = TypeVar("Row")


@dataclass(frozen=True)
class Chunk(ABC):
    """Some rows of a table, in order."""

    columns: Sequence[str]
    """Names as they are written, each once but where a CSV has one twice."""
    lines: Sequence[int]
    """The line that each row begins with, from 1, or its number in a Parquet file: [rows]."""
    errors: Sequence[str]
    """Why each row is none; empty where it is sound: [rows]."""

    @abstractmethod
    def cells(self, column: str) -> list[Cell]:
        """What each row says in a column, nothing where it has none: [rows]."""

    @abstractmethod
    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Each row as the cells of these columns, for a table without types: [rows][columns]."""

    @abstractmethod
    def members(self) -> list[list[tuple[str, str]]]:
        """Each row as names and values, these as JSON; numbers of JSON as they were written."""

    def text_of_row(self, place: int) -> str:
        """What a row that is broken holds, for messages."""
        return ""


@dataclass(frozen=True)
class CsvChunk(Chunk):
    """Rows of a CSV."""

    rows: Sequence[CsvRow]

    def cells(self, column: str) -> list[Cell]:
        """An empty cell is nothing."""
        place = next(iter(matching_columns(column, self.columns)), -1)
        return [
            row.cells[place] or None if 0 <= place < len(row.cells) else None for row in self.rows
        ]

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """A row that is too short is filled with empty cells."""
        names = list(self.columns)
        places = range(len(names)) if names == columns else [names.index(n) for n in columns]
        return [
            [row.cells[place] if place < len(row.cells) else "" for place in places]
            for row in self.rows
        ]

    def members(self) -> list[list[tuple[str, str]]]:
        """Every value is a string."""
        return [
            [
                (name, json.dumps(cell, ensure_ascii=False))
                for name, cell in zip(self.columns, cells, strict=True)
            ]
            for cells in self.texts(self.columns)
        ]

    def text_of_row(self, place: int) -> str:
        """Its cells."""
        return "".join(self.rows[place].cells)


@dataclass(frozen=True)
class JsonChunk(Chunk):
    """Rows of JSON Lines, each with keys of its own."""

    rows: Sequence[JsonRow]

    def cells(self, column: str) -> list[Cell]:
        """Numbers and truth values as they were written."""
        name = column.strip()
        found = ([m for m in row.members if m.name.strip() == name] for row in self.rows)
        return [
            Unreadable("two values") if len(members) > 1 else members[0].cell if members else None
            for members in found
        ]

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """What a row has no key for is None."""
        found = ({m.name: m.text for m in row.members} for row in self.rows)
        return [[values.get(name) for name in columns] for values in found]

    def members(self) -> list[list[tuple[str, str]]]:
        """Values as they were written."""
        return [[(m.name, m.raw) for m in row.members] for row in self.rows]

    def text_of_row(self, place: int) -> str:
        """Its line."""
        return self.rows[place].text


@dataclass(frozen=True)
class ParquetChunk(Chunk):
    """Rows of Parquet."""

    batch: Any
    """A `pyarrow.RecordBatch`."""

    def cells(self, column: str) -> list[Cell]:
        """Typed values are spelled."""
        (place, *_) = matching_columns(column, self.columns)
        found: list[Cell] = _parquet().cells_of_array(self.batch.column(place))
        return found

    def texts(self, columns: Sequence[str]) -> list[list[str | None]]:
        """Lists and structs are JSON."""
        places = [list(self.columns).index(name) for name in columns]
        found = [_parquet().text_of_array(self.batch.column(place)) for place in places]
        return [list(row) for row in zip(*found, strict=True)] or [[] for _ in self.lines]

    def members(self) -> list[list[tuple[str, str]]]:
        """Numbers, lists and structs as JSON has them."""
        values = [_parquet().json_of_array(column) for column in self.batch.columns]
        return [list(zip(self.columns, row, strict=True)) for row in zip(*values, strict=True)]


def _parquet() -> Any:
    """The module for Parquet, whose library takes a while and memory to load."""
    from training import typed_rows

    return typed_rows


@dataclass(kw_only=True)
class Table:
    """An open table."""

    source: Source
    columns: Sequence[str]
    """As written; of JSON Lines those of the first rows, which may not be all."""
    separator: str | None
    """Of a CSV."""
    chunks: Iterator[Chunk]
    """All rows, once."""
    schema: Any = None
    """Of Parquet: the `pyarrow.Schema`."""
    _rows: CsvRows | None = None

    @property
    def where(self) -> str:
        """Beginning of every message."""
        return self.source.where

    @property
    def format(self) -> Format:
        """CSV, JSON Lines or Parquet."""
        return self.source.format

    def column(self, name: str, option: str) -> str | None:
        """The column that a name means, as it is written; None: there is none.

        Raises:
            InputError: the name stands twice.
        """
        found = [self.columns[place] for place in matching_columns(name, self.columns)]
        if len(found) > 1:
            raise InputError(
                f"{self.where}: {len(found)} columns are named {name.strip()!r} ({option}), but"
                " each name must stand once; rename one of them"
            )
        return found[0] if found else None

    def kind_without_text(self, column: str) -> str | None:
        """What a column of Parquet holds where no value of it can be text; None: it may be."""
        if self.schema is None:
            return None
        kind: str | None = _parquet().kind_without_text(self.schema.field(column).type)
        return kind

    def watch_labels(self, column: str, is_label: Callable[[str], bool]) -> None:
        """Let a known label give away that a quoted cell has swallowed rows."""
        if self._rows is not None:
            self._rows.watch(LabelColumn(place=self.columns.index(column), is_label=is_label))

    def encoding_problem(self, line: int, text: str) -> str:
        """What to do about a line that is not UTF-8."""
        return encoding_problem(self.source, line, text)

    def describe(self) -> str:
        """Its format in words."""
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
    """Begin to read a table; its header is read, its rows come as they are asked for.

    Args:
        file: opened unbuffered for bytes.
        name: of the file, whose ending tells CSV and JSON Lines apart; `-` says nothing.
        where: beginning of every message.
        wanted: names of columns that tell the separator of a CSV.
        separator: of a CSV; None: it is found.
        multiline: whether quoted cells may hold lines that look like rows.
        only_wanted: whether no other columns of a Parquet file are read.

    Raises:
        InputError: it is empty, no table, damaged or in another encoding.
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
            begins = iter([] if first is None else [first])
            yield Table(source=source, columns=columns, separator=None, chunks=chain(begins, parts))
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
    """Rows in lists that are short enough to be held, however long their texts are."""
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += size_of(row)
        if len(part) >= _ROWS_AT_ONCE or size >= _CHARACTERS_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _open_parquet(source: Source, wanted: Sequence[str], *, only_wanted: bool) -> Table:
    file = _parquet().open_parquet(source)
    names = list(file.schema_arrow.names)
    places = None
    if only_wanted:
        places = sorted({place for name in wanted for place in matching_columns(name, names)})

    def chunks() -> Iterator[Chunk]:
        first = 1
        for batch in _parquet().read_batches(source, file, places, _ROWS_AT_ONCE):
            lines = range(first, first + len(batch))
            yield ParquetChunk(batch.schema.names, lines, [""] * len(batch), batch)
            first += len(batch)

    return Table(
        source=source, columns=names, separator=None, chunks=chunks(), schema=file.schema_arrow
    )
