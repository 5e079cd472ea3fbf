"""Read the rows of a CSV strictly, one at a time: an unmatched quote never swallows rows silently.

A closing quote must be followed by a separator or the end of the line. Only the first line
of a broken row is lost: the lines after it are read as rows.
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
# Each line that is read again may open a quote: a long search from each of them takes too long.
_LONGEST_ROW_AGAIN = 10_000
_NUM_LINES_OF_HEAD = 50
_EXCEL_MARK = re.compile('"?sep=."?', re.IGNORECASE)

IsLabel = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvRow:
    """One row: as many cells as the header has, or an `error`."""

    line: int
    """The first of its lines, from 1."""
    cells: Sequence[str]
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class LabelColumn:
    """The label column: a known label inside a quoted cell means that it swallowed rows."""

    position: int
    is_label: IsLabel


def find_separator(head: bytes, wanted: Sequence[str]) -> str:
    """Find the separator of a table from its first lines.

    Of the separators that split the header, choose the one that gives most of the `wanted` columns,
    then most lines with as many cells as the header, then most columns. If none splits the header,
    the table has one column and the separator is a comma.
    """
    text = head.decode("utf-8-sig", errors="surrogateescape")
    lines = text.split("\n")[:_NUM_LINES_OF_HEAD]
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
    """Split one line into cells; quotes count where they are matched."""
    line = line.rstrip("\r\n")
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return line.split(separator)


class CsvRows(Iterator[CsvRow]):
    """Iterator over the rows below the header; blank lines are no rows, as in pandas."""

    def __init__(self, source: Source, *, separator: str, multiline: bool) -> None:
        """Read the header.

        Args:
            source: a CSV.
            separator: between its cells.
            multiline: whether quoted cells may hold lines that are rows by themselves.

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
        """Treat a known label inside a quoted cell as a sign that the cell swallowed rows."""
        self._labels = labels

    def __next__(self) -> CsvRow:
        """Return the next row, sound or with its error."""
        while True:
            self._lines.start_row()
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
                cells, error = self._keep_first_line(error)
            elif self._lines.row_has_more_lines and (swallowed := self._find_swallowed()):
                cells, error = self._keep_first_line(swallowed)
            if any(map(NOT_UTF8.search, self._lines.row)):
                error = "; ".join(filter(None, (error, NOT_UTF8_ERROR)))
            return CsvRow(line=line, cells=cells, error=error)

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

    def _keep_first_line(self, error: str) -> tuple[list[str], str]:
        """Return the cells and the error of the first line; the lines after it are read again."""
        first = self._lines.read_again().rstrip("\r\n")
        whole = cells_of(first, self._separator)
        cells = first.split(self._separator) if error else whole
        if not error:
            number = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            error = f"the row has {number}, but the header has {len(self.header)}"
        if extra := cells[len(self.header) :]:
            error = f"{error}; extra cells: {json.dumps(extra, ensure_ascii=False)}"
        return cells, error

    def _explain(self, problem: str) -> str:
        first, last = self._lines.number, self._lines.last_number
        if "new-line character" in problem:
            return "a bare carriage return splits the row; put the cell in quotes"
        if "expected after" in problem:
            what = "text follows a closing quote"
            if last > first:
                what = f"the quote that opens here closes in line {last} and text follows it"
            rule = f"but only {self._separator!r} or the end of the line may follow"
            return f"{what}, {rule}; write a quote inside a cell twice"
        return f"not CSV: {problem}"

    def _find_swallowed(self) -> str:
        """Explain why a row of several lines has probably swallowed others; empty: it has not."""
        if self._multiline:
            return ""
        rows = self._lines.row
        # By themselves, the first line starts with a stray quote and the last one ends with one.
        suspects = rows[1:-1] if self._labels is None else rows[:-1]
        for line in suspects:
            if self._is_row_by_itself(line):
                first, last = self._lines.number, self._lines.last_number
                return (
                    f"a quoted cell reaches from line {first} to line {last} over lines that are"
                    " rows by themselves; write a quote inside a cell twice, or allow such cells by"
                    " multiline"
                )
        return ""

    def _is_row_by_itself(self, line: str) -> bool:
        cells = cells_of(line, self._separator)
        if len(self.header) < 2 or len(cells) != len(self.header):
            return False
        return self._labels is None or self._labels.is_label(cells[self._labels.position])


def _is_blank(cells: Sequence[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())


class _UnclosedQuoteError(Exception):
    """A quoted cell needs more lines than there may be; the message explains why."""


class _Lines(Iterator[str]):
    """The lines that `csv.reader` reads; it asks for a row's second line only inside a quote."""

    def __init__(self, stream: BinaryIO) -> None:
        # The reader handles line breaks; the row with a byte that is not UTF-8 reports it.
        self._coming = io.TextIOWrapper(
            stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
        )
        self._again = deque[str]()
        self.row: list[str] = []
        """Lines of the current row, with their line ends."""
        self._size = 0
        self.number = 1
        """Number of the current row's first line, from 1."""

    @property
    def last_number(self) -> int:
        return self.number + max(len(self.row), 1) - 1

    @property
    def row_has_more_lines(self) -> bool:
        return len(self.row) > 1

    def start_row(self) -> None:
        """Forget the lines of the previous row."""
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
        """Cut the row to its first line and return it; the lines after it are read again."""
        first, *others = self.row
        self._again.extendleft(reversed(others))
        self.row = [first]
        return first
