"""Rows in and out of `evaluation.predict`, a row at a time: CSV or JSON Lines."""

import codecs
import csv
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from training.errors import InputError

Format = Literal["csv", "jsonl"]

_LONGEST_CELL = 2**31 - 1
# Put after the last line: where it comes out inside a cell, that cell's quote was never closed.
_END = "\0end of the file\0"
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class InputRow:
    """One row as it came."""

    cells: Mapping[str, Any]
    """Its own columns, in order."""
    error: str = ""
    """Why it cannot be read; empty if it can."""


def format_of(name: str, default: Format = "csv") -> Format:
    """The format that a file's name says; for `-` the default."""
    if name == "-":
        return default
    return "jsonl" if Path(name).suffix.lower() in _JSON_ENDINGS else "csv"


@contextmanager
def open_input(name: str) -> Iterator[TextIO]:
    """A text file, or standard input for `-`.

    Raises:
        InputError: the file cannot be opened.
    """
    options: Any = {"encoding": "utf-8-sig", "errors": "replace", "newline": ""}
    if name == "-":
        with open(sys.stdin.fileno(), closefd=False, **options) as file:
            yield file
        return
    try:
        file = Path(name).open(**options)  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(
            f"--input is {name!r}, but it cannot be read ({error.strerror}); give a CSV or JSON"
            " Lines file, or - for standard input"
        ) from error
    with file:
        yield file


def format_that_begins(file: TextIO) -> Format:
    """The format that the first character says: `{` begins JSON Lines. Nothing is read away."""
    buffer: Any = file.buffer
    head: bytes = buffer.peek(64)
    is_json = head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    return "jsonl" if is_json else "csv"


@contextmanager
def open_output(name: str) -> Iterator[TextIO]:
    """A text file, or standard output for `-`.

    Raises:
        InputError: the file cannot be written.
    """
    # Half of a surrogate pair comes out as its escape, which in JSON means the same again.
    options: Any = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    if name == "-":
        with open(sys.stdout.fileno(), "w", closefd=False, **options) as file:
            yield file
        return
    try:
        file = Path(name).open("w", **options)  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(
            f"--output is {name!r}, but it cannot be written ({error.strerror}); give a file in a"
            " directory that is there, or - for standard output"
        ) from error
    with file:
        yield file


def read_rows(file: TextIO, kind: Format) -> Iterator[InputRow]:
    """Rows of a file, one at a time; a broken row comes with its error."""
    return _read_csv(file) if kind == "csv" else _read_json_lines(file)


class RowWriter:
    """Writes rows in the format's own quoting.

    A CSV has the columns of all rows of the first call. What a later row has besides is named in
    its `error`, since a header that is written cannot grow.
    """

    def __init__(self, file: TextIO, kind: Format) -> None:
        """Take the file and its format."""
        self._file, self._kind = file, kind
        self._columns: list[str] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some rows, each with a key `error`."""
        if self._kind == "jsonl":
            self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        lines = csv.writer(self._file, lineterminator="\n")
        if not self._columns and rows:
            self._columns = list(dict.fromkeys(key for row in rows for key in row))
            lines.writerow(self._columns)
        for row in rows:
            without = [key for key in row if key not in self._columns]
            told = f"no column for {', '.join(without)}" if without else ""
            error = "; ".join(filter(None, (row["error"], told)))
            cells = {**row, "error": error}
            lines.writerow([_csv_cell(cells.get(column, "")) for column in self._columns])


def _csv_cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value


def _read_csv(file: TextIO) -> Iterator[InputRow]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(itertools.chain(file, [_END]))
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(f"--input: its first line is no CSV ({error}); save it again") from error
    if not header or header[-1].endswith(_END):
        raise InputError(
            "--input: its first line is empty or opens a quote for good, but must hold the column"
            " names; check the file"
        )
    if len(set(header)) < len(header):
        raise InputError(f"--input: a column name stands twice in {header}; rename one of them")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InputRow(cells=dict.fromkeys(header, ""), error=f"not CSV: {error}")
            continue
        if not cells:
            continue  # pandas, too, counts no blank line
        if cells == [_END]:
            return
        never_closed = cells[-1].endswith(_END)
        cells[-1] = cells[-1].removesuffix(_END)
        row = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        wrong = _why_not_a_row(cells, len(header))
        yield InputRow(cells=row, error="a quote is never closed" if never_closed else wrong)


def _why_not_a_row(cells: Sequence[str], num_columns: int) -> str:
    if len(cells) == num_columns:
        return ""
    wrong = f"the row has {len(cells)} cells, the header {num_columns}"
    beyond = json.dumps(cells[num_columns:], ensure_ascii=False)
    return f"{wrong}; beyond it {beyond}" if len(cells) > num_columns else wrong


def _read_json_lines(file: TextIO) -> Iterator[InputRow]:
    for line in file:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield InputRow(cells={"line": line.rstrip("\r\n")}, error=f"not JSON: {error}")
            continue
        if isinstance(value, dict):
            yield InputRow(cells=value)
        else:
            wrong = f"a row must be an object, not {type(value).__name__}"
            yield InputRow(cells={"line": line.rstrip("\r\n")}, error=wrong)
