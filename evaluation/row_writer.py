"""Rows out of `evaluation.predict`, whole lines at a time: CSV or JSON Lines."""

import csv
import io
import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from evaluation.rows import Format


class RowWriter:
    """Writes rows in the format's own quoting, whole lines at a time, and flushes them.

    What a row has besides the columns of a CSV comes out in its `error`, since a header that is
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
        without = {key: value for key, value in row.items() if key not in self._known}
        told = f"no column for {json.dumps(without, ensure_ascii=False)}" if without else ""
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
