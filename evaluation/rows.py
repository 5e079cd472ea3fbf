"""Rows into `evaluation.predict`, a row at a time: CSV or JSON Lines."""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.csv_lines import CsvLines, UnclosedQuoteError
from training.errors import InputError

Format = Literal["csv", "jsonl"]

_LONGEST_CELL = 2**31 - 1
# Far below where Python's own reader and writer of JSON give up.
_DEEPEST = 200
_TOO_DEEP = f"not JSON that can be read: nested more than {_DEEPEST} deep"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_TOLD_NOT_UTF8 = "not UTF-8 (byte 0xNN comes out as \\udcNN); save the file as UTF-8"
_ENDINGS: Mapping[str, Format] = {
    ".csv": "csv",
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
}


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


def format_of(name: str) -> Format | None:
    """The format that a file's name says, if it does."""
    return _ENDINGS.get(Path(name).suffix.lower())


def format_that_begins(lines: Iterable[str]) -> tuple[Format, Iterable[str]]:
    """The format that the first character says, `{` being JSON Lines; and the lines, all of them.

    White space before it does not count.
    """
    coming, read = iter(lines), list[str]()
    for line in coming:
        read.append(line)
        if line.strip():
            break
    is_json = bool(read) and read[-1].lstrip().startswith("{")
    return "jsonl" if is_json else "csv", itertools.chain(read, coming)


def read_table(lines: Iterable[str], kind: Format) -> InputTable:
    """Begin to read a file.

    Args:
        lines: with their ends.
        kind: the format.

    Raises:
        InputError: it is a CSV without a usable header.
    """
    if kind == "jsonl":
        return InputTable(columns=(), rows=_read_json_lines(lines))
    csv.field_size_limit(_LONGEST_CELL)
    source = CsvLines(lines)
    header = _read_header(source)
    return InputTable(columns=header, rows=_read_csv(source, header))


def _read_header(source: CsvLines) -> list[str]:
    try:
        header = next(csv.reader(source), [])
    except csv.Error as error:
        raise InputError(f"--input: its first line is no CSV ({error}); save it again") from error
    except UnclosedQuoteError:
        header = []
    if not header:
        raise InputError(
            "--input: its first line is empty or opens a quote for good, but must hold the column"
            " names; check the file"
        )
    if len(set(header)) < len(header):
        raise InputError(f"--input: a column name stands twice in {header}; rename one of them")
    return header


def _read_csv(source: CsvLines, header: Sequence[str]) -> Iterator[InputRow]:
    reader = csv.reader(source)
    while True:
        source.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnclosedQuoteError as error:
            (cells,) = csv.reader([source.read_again().rstrip("\r\n")])
            # Cells that are missing stand behind the quote.
            beyond = _why_not_a_row(cells, len(header)) if len(cells) > len(header) else ""
            why = "; ".join(filter(None, (f"line {source.number}: {error}", beyond)))
        except csv.Error as error:
            yield InputRow(cells=dict.fromkeys(header, ""), error=f"not CSV: {error}")
            continue
        else:
            why = _why_not_a_row(cells, len(header))
        if any(map(_NOT_UTF8.search, cells)):
            why = "; ".join(filter(None, (why, _TOLD_NOT_UTF8)))
        if cells:  # pandas, too, counts no blank line
            row = dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
            yield InputRow(cells=row, error=why)


def _why_not_a_row(cells: Sequence[str], num_columns: int) -> str:
    if len(cells) == num_columns:
        return ""
    wrong = f"the row has {len(cells)} cells, the header {num_columns}"
    beyond = json.dumps(cells[num_columns:], ensure_ascii=False)
    return f"{wrong}; beyond it {beyond}" if len(cells) > num_columns else wrong


def _read_json_lines(lines: Iterable[str]) -> Iterator[InputRow]:
    for line in lines:
        if not line.strip():
            continue
        wrong, value = _parse(line)
        yield InputRow(cells={"line": line.rstrip("\r\n")} if wrong else value, error=wrong)


def _parse(line: str) -> tuple[str, Any]:
    """Why a line is no row, or nothing; and its value."""
    if _NOT_UTF8.search(line):
        return _TOLD_NOT_UTF8, None
    try:
        value = json.loads(line, object_pairs_hook=_object)
    except RecursionError:
        return _TOO_DEEP, None
    except _RepeatedKeyError as error:
        return f"the key {error.args[0]!r} stands twice", None
    except ValueError as error:
        return f"not JSON: {error}", None
    if not isinstance(value, dict):
        return f"a row must be an object, not {type(value).__name__}", None
    may_be_deep = line.count("{") + line.count("[") > _DEEPEST
    return (_TOO_DEEP, None) if may_be_deep and _depth(value) > _DEEPEST else ("", value)


class _RepeatedKeyError(ValueError):
    """A JSON object that would lose a value."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))
    return value


def _depth(value: object) -> int:
    """How many objects and arrays stand inside one another, counted without recursion."""
    depth, level = 0, [value]
    while containers := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            inner
            for item in containers
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
