"""The live view of a search on a terminal, from 60 columns on; elsewhere lines of progress."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from results import status_text
from results.overview import AT_LAST_RUNG, WAITING, Event, Overview
from results.trial_states import Status

ReadOverview = Callable[[], Overview | None]
"""Returns the current overview; None before there is one."""

_REFRESHES_PER_SECOND = 2
_MIN_SECONDS_BETWEEN_LINES = 60.0
_SHARE_OF_ELAPSED = 1 / 6
"""Pause between two lines as a share of the elapsed time: eight hours make about 35 lines."""

_COLOURS = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    AT_LAST_RUNG: "green",
    Status.STOPPED: "yellow",
    Status.FAILED: "red",
    Status.DIVERGED: "red",
    Status.COLLAPSED: "magenta",
    WAITING: "dim",
}
_LABEL_WIDTH = 8
_MIN_WIDTH_OF_TWO_COLUMNS = 116
_RUNGS_WIDTH = 58
_MAX_RUNNING = 4
"""Running trials that get a line of their own."""


def is_live() -> bool:
    """Return whether standard output is a terminal for people that can display a live view."""
    is_plain = os.environ.get("CI") or os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return not is_plain and encoding == "utf8" and sys.stdout.isatty()


@contextmanager
def display(read: ReadOverview) -> Iterator[None]:
    """Display a search during a `with` block; its last state stays on the terminal."""
    with _display_view(read) if is_live() else _print_lines(read):
        yield


def terminal_console() -> Console:
    """Return a console on standard output that never reads text as markup."""
    return _Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


class _Console(Console):
    """Leaves the cursor visible: a process that is killed could not restore it."""

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


@contextmanager
def _display_view(read: ReadOverview) -> Iterator[None]:
    view = LiveView()

    def current() -> LiveView:
        view.update(read())
        return view

    live = Live(
        console=terminal_console(), get_renderable=current, refresh_per_second=_REFRESHES_PER_SECOND
    )
    with live, _log_above_view():
        yield


@contextmanager
def _log_above_view() -> Iterator[None]:
    """Let log handlers that write to the terminal write above the view, as `print` does."""
    moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
    known = [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in known for handler in logger.handlers}:
        if not isinstance(handler, logging.StreamHandler):
            continue
        streams: list[tuple[TextIO | None, TextIO]] = [
            (sys.__stdout__, sys.stdout),
            (sys.__stderr__, sys.stderr),
        ]
        for original, current in streams:
            if handler.stream is original and original is not None:
                moved.append((handler, original))
                handler.setStream(current)
    try:
        yield
    finally:
        for handler, original in moved:
            handler.setStream(original)


@contextmanager
def _print_lines(read: ReadOverview) -> Iterator[None]:
    stop = threading.Event()

    def print_until_stopped() -> None:
        for line in lines_when_due(read, wait=lambda: not stop.wait(1.0)):
            print(line, flush=True)

    thread = threading.Thread(target=print_until_stopped, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def lines_when_due(read: ReadOverview, *, wait: Callable[[], bool]) -> Iterator[str]:
    """Yield a line of progress whenever one is due.

    Args:
        read: returns the current overview.
        wait: waits until the next reading; returns False if there is none.
    """
    last: Overview | None = None
    last_at = time.monotonic()
    while wait():
        overview = read()
        if overview is None or not is_due(last, overview, time.monotonic() - last_at):
            continue
        is_new = _best_trial(overview) != _best_trial(last)
        yield status_text.progress_line(overview, datetime.now(UTC), with_parameters=is_new)
        last, last_at = overview, time.monotonic()


def is_due(last: Overview | None, overview: Overview, seconds: float) -> bool:
    """Return whether a line is due: another best trial, another phase, or enough time.

    The first one is due when a worker has started a trial, seconds before its first step ends.

    Args:
        last: overview of the last line; None before the first.
        overview: current overview.
        seconds: time since the last line.
    """
    if seconds >= max(_MIN_SECONDS_BETWEEN_LINES, _SHARE_OF_ELAPSED * overview.seconds):
        return True
    if last is None:
        return overview.best is not None or any(trial.worker for trial in overview.running)
    return _best_trial(overview) != _best_trial(last) or overview.phase != last.phase


def _best_trial(overview: Overview | None) -> str | None:
    return overview.best.trial_id if overview and overview.best else None


class LiveView:
    """Renders an overview; between two changes only the first line, with its clock, is rendered.

    All text is passed as `Text`, so that nothing in it is read as markup.
    """

    def __init__(self, overview: Overview | None = None) -> None:
        """Start with an overview, or with nothing to display."""
        self.overview = overview
        self._rendered: tuple[Overview, int] | None = None
        self._body: list[list[Segment]] = []

    def update(self, overview: Overview | None) -> None:
        """Set the overview to render next."""
        self.overview = overview

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the line with the clock, and repeat the lines below it if nothing changed."""
        overview = self.overview
        if overview is None:
            return
        yield _headline(overview, datetime.now(UTC), options.max_width)
        if self._rendered is None or self._rendered != (overview, options.max_width):
            body = _body(overview, options.max_width)
            self._body = console.render_lines(body, options.update(height=None), pad=False)
            self._rendered = overview, options.max_width
        for line in self._body:
            yield from line
            yield Segment.line()


def _headline(overview: Overview, now: datetime, width: int) -> RenderableType:
    name = PurePath(overview.location.rstrip("/")).name
    elapsed = status_text.format_duration(status_text.elapsed_seconds(overview, now))
    left = status_text.describe_time_left(overview, now)
    line = Text.assemble(("── ", "dim"), (name, "bold"), no_wrap=True, overflow="ellipsis")
    for part in filter(None, (status_text.describe_status(overview), elapsed, left)):
        line.append(" · ", "dim").append(part)
    line.append(" " + "─" * max(width - line.cell_len - 1, 0), "dim")
    return line


def _body(overview: Overview, width: int) -> RenderableType:
    is_wide = width >= _MIN_WIDTH_OF_TWO_COLUMNS
    rungs = _rungs(overview)
    facts = _facts(overview, width - _RUNGS_WIDTH if is_wide and rungs else width)
    parts: list[RenderableType | None] = [facts, rungs]
    if is_wide and rungs:
        both = Table.grid(expand=True, padding=(0, 2))
        both.add_column(ratio=1)
        both.add_column(width=_RUNGS_WIDTH - 2)
        both.add_row(facts, rungs)
        parts = [both]
    parts.append(_events(overview.events))
    return Group(*[part for part in parts if part is not None])


def _facts(overview: Overview, width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_LABEL_WIDTH, style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("trials", _bar(overview, width - _LABEL_WIDTH - 4))
    table.add_row("", _states(overview))
    if overview.confirmed:
        table.add_row("confirm", Text(status_text.describe_confirmations(overview)))
    for label, line in zip(("best", "", ""), _best(overview), strict=False):
        table.add_row(label, line)
    if overview.baseline:
        text = status_text.describe_baseline(overview.baseline, overview.score_label)
        table.add_row("to beat", Text(text, no_wrap=True, overflow="ellipsis"))
    if overview.budget:
        for number, text in enumerate(status_text.describe_budget(overview.budget)):
            table.add_row("" if number else "rows", Text(text))
    if pace := status_text.describe_pace(overview):
        table.add_row("pace", Text(pace))
    for label, line in _running(overview):
        table.add_row(label, line)
    return table


def _bar(overview: Overview, width: int) -> Text:
    """Return the trials of the search as a bar with a colour per state; light: not started yet."""
    num_trials = max(overview.requested, overview.num_started, 1)
    bar, num_cells, num_counted = Text(no_wrap=True), 0, 0
    for state in status_text.STATE_NAMES:
        num_counted += overview.searched.get(state, 0)
        cells = round(width * num_counted / num_trials) - num_cells
        num_cells += cells
        bar.append(("▒" if state == Status.RUNNING else "█") * cells, _COLOURS[state])
    return bar.append("░" * (width - num_cells), "dim")


def _states(overview: Overview) -> Text:
    line = Text.assemble((f"{overview.num_started} of {overview.requested} started", "bold"))
    found = [item for item in status_text.STATE_NAMES.items() if item[0] in overview.searched]
    for number, (state, name) in enumerate(found):
        line.append(", " if number else ": ")
        line.append(f"{overview.searched[state]} {name}", _COLOURS[state])
    return line


def _best(overview: Overview) -> Iterator[Text]:
    best = overview.best
    if best is None:
        yield Text(status_text.NO_SCORE, "dim")
        return
    score = status_text.describe_score(best, overview.score_label)
    yield Text.assemble((best.trial_id, "bold"), " ", (score, "bold green"))
    yield Text(status_text.describe_lead(best))
    yield Text(best.parameters)


def _running(overview: Overview) -> Iterator[tuple[str, Text]]:
    for number, trial in enumerate(overview.running[:_MAX_RUNNING]):
        text = status_text.describe_running(trial, overview)
        line = Text(text, no_wrap=True, overflow="ellipsis")
        if trial.worker:
            line.append(f", process {trial.worker['process']} on {trial.worker['node']}", "dim")
        yield "" if number else "running", line
    if (more := len(overview.running) - _MAX_RUNNING) > 0:
        yield "", Text(f"and {more} more", "dim")


def _rungs(overview: Overview) -> RenderableType | None:
    """Return the table of rungs; None if trials are not judged before they end."""
    if len(overview.rungs) < 2:
        return None
    table = Table.grid(padding=(0, 2, 0, 1))
    table.add_column(width=_LABEL_WIDTH, style="dim", no_wrap=True)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("rungs", *(Text(name, "dim") for name in ("epochs", *status_text.RUNG_COLUMNS)))
    for rung in overview.rungs[:-1]:
        counts = (rung.reached, rung.reached - rung.stopped, rung.stopped)
        table.add_row("", f"{rung.epochs:.4g}", *map(str, counts))
    last = overview.rungs[-1]
    table.add_row("", f"{last.epochs:.4g}", str(last.reached), Text(last.end, "dim"))
    return table


def _events(events: Iterable[Event]) -> RenderableType | None:
    lines = [
        Text.assemble(
            (event.at, "dim"),
            (f" {event.text}", "red" if event.is_warning else ""),
            no_wrap=True,
            overflow="ellipsis",
        )
        for event in events
    ]
    return Group(Text("last events", "dim"), *lines) if lines else None
