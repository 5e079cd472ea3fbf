"""Rows of a CSV, read strictly and one at a time: no quote swallows a row without a word.

After a closing quote only a separator or the end of the line may stand. A row that breaks a rule
costs its own line: the lines behind it are read as rows of their own.
"""

import csv
import io
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from training.cells import NOT_UTF8, NOT_UTF8_ERROR
from training.errors import InputError
from training.table_bytes import Source, encoding_problem

SEPARATORS = (",", ";", "\t", "|")

_LONGEST_CELL = 2**31 - 1
_LONGEST_ROW = 10_000_000
# Lines that are read again may each open a quote: looking far from each would take for ever.
_LONGEST_ROW_AGAIN = 10_000
_LINES_LOOKED_AT = 50
_EXCEL_MARK = re.compile('"?sep=."?', re.IGNORECASE)

IsLabel = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvRow:
    """One row: as many cells as the header, unless `error` says why not."""

    line: int
    """The first of its lines, from 1."""
    cells: Sequence[str]
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelColumn:
    """What gives away that a quoted cell has swallowed rows, where labels are known."""

    place: int
    is_label: IsLabel


def find_separator(head: bytes, wanted: Sequence[str]) -> str:
    """The separator of a table, from its first lines.

    Of those that split the header the one whose header has most of the `wanted` columns, then
    the one with most lines of as many cells, then the one with most columns. A header that none
    splits is one column, and the separator a comma.
    """
    text = head.decode("utf-8-sig", errors="surrogateescape")
    lines = text.split("\n")[:_LINES_LOOKED_AT]
    lines = lines[:-1] if len(lines) > 1 else lines

    def merit(separator: str) -> tuple[int, int, int]:
        header, *rows = [cells_of(line, separator) for line in lines if line.strip()] or [[]]
        if len(header) < 2:
            return (-1, 0, 0)
        names = {name.strip() for name in header}
        alike = sum(len(cells) == len(header) for cells in rows)
        return sum(name.strip() in names for name in wanted), alike, len(header)

    return max(SEPARATORS, key=merit)


def cells_of(line: str, separator: str) -> list[str]:
    """The cells of a line by itself, quotes obeyed where they are whole."""
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return line.split(separator)


class CsvRows(Iterator[CsvRow]):
    """Reads the header, then gives row by row; blank lines are no rows, as in pandas."""

    def __init__(self, source: Source, *, separator: str, multiline: bool) -> None:
        """Read the header.

        Args:
            source: a CSV.
            separator: between its cells.
            multiline: whether quoted cells may hold lines that look like rows.

        Raises:
            InputError: there is no usable header.
        """
        csv.field_size_limit(_LONGEST_CELL)
        self._source, self._separator, self._multiline = source, separator, multiline
        self._lines = _Lines(source.stream)
        self._reader = csv.reader(self._lines, delimiter=separator, strict=True)
        self._labels: LabelColumn | None = None
        self.header = self._read_header()

    def watch(self, labels: LabelColumn) -> None:
        """Let a known label in this column give away that a quoted cell has swallowed rows."""
        self._labels = labels

    def __next__(self) -> CsvRow:
        """The next row, sound or with its error."""
        while True:
            self._lines.begin_row()
            line, error, cells = self._lines.number, "", []
            try:
                cells = next(self._reader)
            except _UnclosedQuoteError as problem:
                error = str(problem)
            except csv.Error as problem:
                error = self._explain(str(problem))
            if error or len(cells) != len(self.header):
                if not error and _is_blank(cells):
                    continue
                cells, error = self._begin_behind_first_line(error)
            elif self._lines.row_has_more_lines and (swallowed := self._swallowed()):
                cells, error = self._begin_behind_first_line(swallowed)
            if any(map(NOT_UTF8.search, self._lines.row)):
                error = "; ".join(filter(None, (error, NOT_UTF8_ERROR)))
            return CsvRow(line=line, cells=cells, error=error)

    def beyond(self, cells: Sequence[str]) -> str:
        """What a row has beyond the header, for its error; empty: nothing."""
        more = cells[len(self.header) :]
        return f"; beyond it {json.dumps(more, ensure_ascii=False)}" if more else ""

    def _read_header(self) -> list[str]:
        try:
            header = next(self._reader, [])
        except (_UnclosedQuoteError, csv.Error) as error:
            raise InputError(
                f"{self._source.where}: its first line is no header ({self._explain(str(error))});"
                " it must hold the names of the columns"
            ) from error
        if any(map(NOT_UTF8.search, header)):
            raise InputError(encoding_problem(self._source, self._lines.number, "".join(header)))
        if _EXCEL_MARK.fullmatch("".join(self._lines.row).strip()):
            raise InputError(
                f"{self._source.where}: its first line is Excel's mark of the separator, but must"
                " hold the names of the columns; delete that line"
            )
        if not any(name.strip() for name in header):
            raise InputError(
                f"{self._source.where}: its first line is empty, but must hold the names of the"
                " columns; check the file"
            )
        return header

    def _begin_behind_first_line(self, error: str) -> tuple[list[str], str]:
        """The first line as it stands, and what is wrong; the lines behind it come again."""
        first = self._lines.read_again().rstrip("\r\n")
        whole = cells_of(first, self._separator)
        cells = first.split(self._separator) if error else whole
        wrong = f"{len(cells)} cell{'s' * (len(cells) != 1)}, the header {len(self.header)}"
        if not error:
            error = f"the row has {wrong}"
        return cells, error + self.beyond(cells)

    def _explain(self, problem: str) -> str:
        first, last = self._lines.number, self._lines.last_number
        if "new-line character" in problem:
            return "a bare carriage return splits the row; put the cell in quotes"
        if "expected after" in problem:
            what = "text is behind a closing quote"
            if last > first:
                what = f"the quote that opens here closes in line {last} with text behind it"
            rule = f"where only {self._separator!r} or the end of the line may be"
            return f"{what}, {rule}; write a quote inside a cell twice"
        return f"not CSV: {problem}"

    def _swallowed(self) -> str:
        """Why a row of several lines has probably swallowed others; empty: it has not."""
        if self._multiline:
            return ""
        rows = self._lines.row
        # The first line by itself has the opening quote before its text, the last the closing one.
        suspects = rows[1:-1] if self._labels is None else rows[:-1]
        for line in suspects:
            if self._looks_like_a_row(line):
                first, last = self._lines.number, self._lines.last_number
                return (
                    f"a quoted cell reaches from line {first} to line {last} over lines that look"
                    " like rows: a quote that is not doubled? Mend it, or allow such cells by"
                    " multiline"
                )
        return ""

    def _looks_like_a_row(self, line: str) -> bool:
        cells = cells_of(line, self._separator)
        if len(self.header) < 2 or len(cells) != len(self.header):
            return False
        return self._labels is None or self._labels.is_label(cells[self._labels.place])


def _is_blank(cells: Sequence[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())


class _UnclosedQuoteError(Exception):
    """A row asks for more lines than it can have; the message says why."""


class _Lines(Iterator[str]):
    """What `csv.reader` reads from, row by row: it asks for a second line only inside a quote."""

    def __init__(self, stream: BinaryIO) -> None:
        # Line breaks are left to the reader; a byte that is not UTF-8 is told of by its row.
        self._coming = io.TextIOWrapper(
            stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
        )
        self._again = deque[str]()
        self.row: list[str] = []
        """Lines of the row, with their ends."""
        self._size = 0
        self.number = 1
        """Of the line that the row begins with, from 1."""

    @property
    def last_number(self) -> int:
        return self.number + max(len(self.row), 1) - 1

    @property
    def row_has_more_lines(self) -> bool:
        return len(self.row) > 1

    def begin_row(self) -> None:
        """Forget the lines of the row before."""
        self.number += len(self.row)
        self.row, self._size = [], 0

    def __next__(self) -> str:
        longest = _LONGEST_ROW_AGAIN if self._again else _LONGEST_ROW
        if self.row and self._size > longest:
            raise _UnclosedQuoteError(f"a quote is not closed within {longest:,} characters")
        line = self._again.popleft() if self._again else next(self._coming, None)
        if line is None:
            if self.row:
                raise _UnclosedQuoteError("a quote is never closed")
            raise StopIteration
        self.row.append(line)
        self._size += len(line)
        return line

    def read_again(self) -> str:
        """The first line of the row, which is then the whole row; those after it come again."""
        first, *others = self.row
        self._again.extendleft(reversed(others))
        self.row = [first]
        return first
