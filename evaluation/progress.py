"""How far a command is, on a terminal or in a log."""

import time
from typing import TextIO

_SECONDS_BETWEEN = 5.0


class Progress:
    """Counts rows and says so every few seconds.

    On a terminal one line is written over again; elsewhere each is a line of its own. A command
    that ends sooner says its last line alone.
    """

    def __init__(self, stream: TextIO, seconds_between: float = _SECONDS_BETWEEN):
        """Start the clock."""
        self._stream, self._between = stream, seconds_between
        self._started = self._said = time.monotonic()
        self._is_log = not stream.isatty()
        self._rows = self._errors = self._width = 0

    def add(self, num_rows: int, num_errors: int) -> None:
        """Count more rows, and how many of them have an error."""
        self._rows += num_rows
        self._errors += num_errors
        if time.monotonic() - self._said >= self._between:
            self._say("\n" if self._is_log else "")
            self._said = time.monotonic()

    def finish(self) -> None:
        """Say how many rows there were, how many have an error, and rows a second."""
        self._say("\n")

    @property
    def num_rows(self) -> int:
        """Rows so far."""
        return self._rows

    def _say(self, end: str) -> None:
        rate = self._rows / max(time.monotonic() - self._started, 1e-9)
        line = f"{self._rows:,} rows, {self._errors:,} with an error, {rate:,.0f} rows/s"
        start = "" if self._is_log else "\r"
        print(f"{start}{line:<{self._width}}", end=end, file=self._stream, flush=True)
        self._width = len(line)
