"""Progress of a command on stderr: a live line in a terminal, plain lines in a log."""

import time
from typing import TextIO

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0


class RowProgress:
    """Count rows and errors, and report them while the command runs.

    A terminal displays one line of `rich.progress`, which is updated and removed at the
    end. Elsewhere (a pipe, a log, CI) a plain line is printed every few seconds. The last line is
    plain text in both cases.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        may_be_live: bool = True,
        seconds_between: float = _SECONDS_BETWEEN_LINES,
    ) -> None:
        """Start the clock.

        Args:
            stream: where progress is reported.
            may_be_live: False if rows are written to the same terminal, which the live line would
                overwrite.
            seconds_between: seconds between two plain lines.
        """
        self.num_rows = 0
        self._stream, self._seconds_between = stream, seconds_between
        self._num_errors = 0
        self._started = self._last_line = time.monotonic()
        console = Console(file=stream)
        self._is_live = may_be_live and console.is_terminal and not console.is_dumb_terminal
        self._bar = Progress(
            SpinnerColumn(),
            _StatusColumn(self),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._is_live,
        )
        self._bar.add_task("rows", total=None)

    def add(self, num_rows: int, num_errors: int) -> None:
        """Count more rows, and how many of them have an error."""
        self.num_rows += num_rows
        self._num_errors += num_errors
        if self._is_live:
            self._bar.start()
        elif time.monotonic() - self._last_line >= self._seconds_between:
            self._print_line()
            self._last_line = time.monotonic()

    def stop(self) -> None:
        """Remove the live line, so that other lines may be printed."""
        self._bar.stop()

    def finish(self) -> None:
        """Print how many rows there were, how many have an error, and rows per second."""
        self.stop()
        self._print_line()

    def status_text(self) -> str:
        """Return rows, errors and rows per second so far, in one line."""
        rate = self.num_rows / max(time.monotonic() - self._started, 1e-9)
        return f"{self.num_rows:,} rows, {self._num_errors:,} with an error, {rate:,.0f} rows/s"

    def _print_line(self) -> None:
        print(self.status_text(), file=self._stream, flush=True)


class _StatusColumn(ProgressColumn):
    """The status text as a column of `rich.progress`."""

    def __init__(self, progress: RowProgress) -> None:
        self._progress = progress
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(self._progress.status_text())
