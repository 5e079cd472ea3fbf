"""Rows in and out of `evaluation.predict`, a row at a time: CSV or JSON Lines."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from training.errors import InputError

Format = Literal["csv", "jsonl"]

_LONGEST_CELL = 2**31 - 1
_JSON_ENDINGS = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, kw_only=True)
class InputRow:
    """One row as it came."""

    cells: Mapping[str, Any]
    """Its own columns, in order."""
    error: str = ""
    """Why it cannot be read; empty if it can."""


def format_of(name: str, default: Format = "csv") -> Format:
    """The format that a file's name says; `-` has the default."""
    if name == "-":
        return default
    return "jsonl" if Path(name).suffix.lower() in _JSON_ENDINGS else "csv"


@contextmanager
def open_input(name: str) -> Iterator[TextIO]:
    """A text file, or standard input for `-`.

    Raises:
        InputError: the file cannot be opened.
    """
    if name == "-":
        yield sys.stdin
        return
    try:
        file = Path(name).open(encoding="utf-8-sig", errors="replace", newline="")  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f"--input is {name!r}, but it cannot be read ({error.strerror}); give a CSV or JSON"
            " Lines file, or - for standard input"
        ) from error
    with file:
        yield file


@contextmanager
def open_output(name: str) -> Iterator[TextIO]:
    """A text file, or standard output for `-`.

    Raises:
        InputError: the file cannot be written.
    """
    if name == "-":
        yield sys.stdout
        return
    try:
        file = Path(name).open("w", encoding="utf-8", errors="replace", newline="")  # noqa: SIM115
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
    """Writes rows with the columns of the first one; the format's own quoting."""

    def __init__(self, file: TextIO, kind: Format) -> None:
        """Take the file and its format."""
        self._file, self._kind = file, kind
        self._csv: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        if self._kind == "jsonl":
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        if self._csv is None:
            self._csv = csv.DictWriter(
                self._file, list(row), restval="", extrasaction="ignore", lineterminator="\n"
            )
            self._csv.writeheader()
        self._csv.writerow(row)


def _read_csv(file: TextIO) -> Iterator[InputRow]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(file)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(f"--input: its first line is no CSV ({error}); save it again") from error
    if not header:
        raise InputError(
            "--input: its first line is empty, but must hold the column names; check the file"
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
        row = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
        same = len(cells) == len(header)
        wrong = "" if same else f"the row has {len(cells)} cells, the header {len(header)}"
        yield InputRow(cells=row, error=wrong)


def _read_json_lines(file: TextIO) -> Iterator[InputRow]:
    for line in file:
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield InputRow(cells={}, error=f"not JSON: {error}")
            continue
        if isinstance(value, dict):
            yield InputRow(cells=value)
        else:
            yield InputRow(cells={}, error=f"a row must be an object, not {type(value).__name__}")
