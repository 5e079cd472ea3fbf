"""Rows in and out of `evaluation.predict`, a row at a time: CSV or JSON Lines."""

import codecs
import csv
import errno
import io
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, TextIO

from training.errors import InputError

Format = Literal["csv", "jsonl"]

_LONGEST_CELL = 2**31 - 1
# Put after the last line: where it comes out inside a cell, that cell's quote was never closed.
_END = "\0end of the file\0"
# Half of a surrogate pair comes out as its escape, which in JSON means the same again.
_OUTPUT_OPTIONS: Any = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class InputRow:
    """One row as it came."""

    cells: Mapping[str, Any]
    """Its own columns, in order."""
    error: str = ""
    """Why it cannot be read; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class InputTable:
    """A file that is being read."""

    columns: Sequence[str]
    """Of a CSV's header; empty for JSON Lines, whose rows have each their own."""
    rows: Iterator[InputRow]
    """One at a time; a broken row comes with its error."""


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

    A file is written as `NAME.part` and takes its name at the end, so that a file with the name
    is whole; what was there stays until then. If the work ends sooner, the part stays with the
    rows that are done. A device or a named pipe is written to directly.

    Raises:
        InputError: the file cannot be written.
    """
    if name == "-":
        with open(sys.stdout.fileno(), "w", closefd=False, **_OUTPUT_OPTIONS) as file:
            yield file
        return
    target = Path(name).resolve()  # a link stays one
    is_special = target.exists() and not target.is_file() and not target.is_dir()
    part = target if is_special else part_of(name)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        file = part.open("w", **_OUTPUT_OPTIONS)
    except OSError as error:
        raise InputError(
            f"--output is {name!r}, but it cannot be written ({error.strerror}); give a file in a"
            " directory that is there, or - for standard output"
        ) from error
    with file:
        yield file
        file.flush()
        if not is_special:
            os.fsync(file.fileno())
    part.replace(target)


def part_of(name: str) -> Path:
    """Where the rows of an output file stand until all are there."""
    target = Path(name).resolve()
    return target.with_name(f"{target.name}.part")


def read_table(file: TextIO, kind: Format) -> InputTable:
    """Begin to read a file.

    Raises:
        InputError: it is a CSV without a usable header.
    """
    if kind == "jsonl":
        return InputTable(columns=(), rows=_read_json_lines(file))
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(itertools.chain(file, [_END]))
    header = _read_header(reader)
    return InputTable(columns=header, rows=_read_csv(reader, header))


class RowWriter:
    """Writes rows in the format's own quoting, whole lines at a time, and flushes them.

    What a row has besides the columns of a CSV is named in its `error`, since a header that is
    written cannot grow.
    """

    def __init__(self, file: TextIO, kind: Format, columns: Sequence[str]) -> None:
        """Take the file, its format and, for a CSV, its columns; write the header."""
        self._file, self._kind = file, kind
        self._columns, self._known = list(columns), frozenset(columns)
        if kind == "csv":
            self._write_lines([self._columns])

    def write(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write some rows, each with a key `error`; return how many of them have an error."""
        if self._kind == "jsonl":
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            self._flush(lines)
            return sum(bool(row["error"]) for row in rows)
        told = [{**row, "error": self._told(row)} for row in rows]
        self._write_lines(
            [_csv_cell(row.get(column, "")) for column in self._columns] for row in told
        )
        return sum(bool(row["error"]) for row in told)

    def _told(self, row: Mapping[str, Any]) -> str:
        without = [key for key in row if key not in self._known]
        told = f"no column for {', '.join(without)}" if without else ""
        return "; ".join(filter(None, (row["error"], told)))

    def _write_lines(self, rows: Iterable[Sequence[object]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._flush(text.getvalue())

    def _flush(self, lines: str) -> None:
        with _interrupt_waits():
            self._file.write(lines)
            self._file.flush()


def _csv_cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value


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


def _read_header(reader: Iterator[list[str]]) -> list[str]:
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
    return header


def _read_csv(reader: Iterator[list[str]], header: Sequence[str]) -> Iterator[InputRow]:
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
