"""An overview drawn for a terminal of any width from 60 columns on."""

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
from results.overview import WAITING, Event, Overview
from results.status_text import progress_line
from results.trial_states import Status

_COLOURS = {
    Status.RUNNING: "cyan",
    Status.COMPLETED: "green",
    Status.STOPPED: "yellow",
    Status.FAILED: "red",
    Status.DIVERGED: "red",
    Status.COLLAPSED: "magenta",
    WAITING: "dim",
}
_LABEL = 8
"""Columns of what stands in front of a line."""
_TWO_COLUMNS_FROM = 116
"""Columns of the terminal."""
_MOST_RUNNING = 4
"""Running trials that get a line of their own."""


class LiveView:
    """Draws what it was given last; only the first line is made anew with each look at the clock.

    All text goes in as `Text`: nothing in it is read as markup.
    """

    def __init__(self, overview: Overview | None = None) -> None:
        """Begin with an overview, or with nothing."""
        self.overview = overview
        self._drawn: tuple[Overview, int] | None = None
        self._body: list[list[Segment]] = []

    def show(self, overview: Overview | None) -> None:
        """Draw this overview from now on; None: nothing."""
        self.overview = overview

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The clock's line, and the lines below it as they were drawn last."""
        overview = self.overview
        if overview is None:
            return
        yield _headline(overview, datetime.now(UTC), options.max_width)
        if self._drawn is None or self._drawn != (overview, options.max_width):
            body = _body(overview, options.max_width)
            self._body = console.render_lines(body, options.update(height=None), pad=False)
            self._drawn = overview, options.max_width
        for line in self._body:
            yield from line
            yield Segment.line()


def _headline(overview: Overview, now: datetime, width: int) -> RenderableType:
    name = PurePath(overview.location.rstrip("/")).name
    words = [
        status_text.describe_status(overview),
        status_text.format_duration(status_text.elapsed_seconds(overview, now)),
    ]
    if left := status_text.describe_time_left(overview, now):
        words.append(left)
    line = Text.assemble(("── ", "dim"), (name, "bold"), no_wrap=True, overflow="ellipsis")
    for word in words:
        line.append(" · ", "dim").append(word)
    line.append(" " + "─" * max(width - line.cell_len - 1, 0), "dim")
    return line


def _body(overview: Overview, width: int) -> RenderableType:
    is_wide = width >= _TWO_COLUMNS_FROM
    facts, rungs = _facts(overview, width // 2 if is_wide else width), _rungs(overview)
    parts: list[RenderableType | None] = [facts, rungs]
    if is_wide and rungs:
        both = Table.grid(expand=True, padding=(0, 2))
        both.add_column(ratio=1)
        both.add_column(ratio=1)
        both.add_row(facts, rungs)
        parts = [both]
    parts.append(_events(overview.events))
    return Group(*[part for part in parts if part is not None])


def _facts(overview: Overview, width: int) -> Table:
    table = _labelled()
    table.add_row("trials", _bar(overview, width - _LABEL - 4))
    table.add_row("", _states(overview))
    if overview.confirmed:
        table.add_row("confirm", Text(status_text.describe_confirmations(overview)))
    for label, line in zip(("best", "", ""), _best(overview), strict=False):
        table.add_row(label, line)
    if overview.budget:
        for number, told in enumerate(status_text.describe_budget(overview.budget)):
            table.add_row("" if number else "rows", Text(told))
    if pace := status_text.describe_pace(overview):
        table.add_row("pace", Text(pace))
    for label, line in _running(overview):
        table.add_row(label, line)
    return table


def _labelled() -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_LABEL, style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _bar(overview: Overview, width: int) -> Text:
    """Trials of the search as a bar, a colour a state; what is still to begin is light."""
    whole = max(overview.requested, overview.num_started, 1)
    bar, drawn, counted = Text(no_wrap=True), 0, 0
    for name in status_text.ENDED_FIRST:
        counted += overview.searched.get(name, 0)
        cells = round(width * counted / whole) - drawn
        drawn += cells
        bar.append(("▒" if name == Status.RUNNING else "█") * cells, _COLOURS[name])
    return bar.append("░" * (width - drawn), "dim")


def _states(overview: Overview) -> Text:
    line = Text.assemble((f"{overview.num_started} of {overview.requested} begun", "bold"))
    found = [name for name in status_text.ENDED_FIRST if name in overview.searched]
    for number, name in enumerate(found):
        line.append(", " if number else ": ")
        line.append(f"{overview.searched[name]} {name}", _COLOURS[name])
    return line


def _best(overview: Overview) -> Iterator[Text]:
    best = overview.best
    if best is None:
        yield Text("no trial has a score at the full budget yet", "dim")
        return
    score = status_text.describe_score(best, overview.score_label)
    yield Text.assemble((best.trial_id, "bold"), " ", (score, "bold green"))
    yield Text(status_text.describe_lead(best))
    yield Text(status_text.describe_parameters(best))


def _running(overview: Overview) -> Iterator[tuple[str, Text]]:
    for number, trial in enumerate(overview.running[:_MOST_RUNNING]):
        line = Text(
            status_text.describe_running(trial, overview), no_wrap=True, overflow="ellipsis"
        )
        if trial.worker:
            line.append(f", process {trial.worker['process']} on {trial.worker['node']}", "dim")
        yield "" if number else "running", line
    if (more := len(overview.running) - _MOST_RUNNING) > 0:
        yield "", Text(f"and {more} more", "dim")


def _rungs(overview: Overview) -> RenderableType | None:
    """Who came how far; None where no trial is judged on its way."""
    if len(overview.rungs) < 2:
        return None
    table = Table.grid(padding=(0, 2, 0, 1))
    table.add_column(width=_LABEL, style="dim", no_wrap=True)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("rungs", *(Text(name, "dim") for name in ("epochs", *status_text.RUNG_COLUMNS)))
    for level in overview.rungs[:-1]:
        on = level.reached - level.stopped
        table.add_row("", f"{level.epochs:.4g}", *map(str, (level.reached, on, level.stopped)))
    last = overview.rungs[-1]
    table.add_row("", f"{last.epochs:.4g}", str(last.reached), Text("the end", "dim"))
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


Look = Callable[[], Overview | None]
"""The overview at the moment; None before there is one."""

_LOOKS_A_SECOND = 2
_FEWEST_SECONDS = 60.0
_SHARE_OF_ELAPSED = 1 / 6
"""Lines come the more seldom the longer it takes: eight hours make about 35."""


class _Console(Console):
    """Leaves the cursor as it is: whatever ends the process, the terminal has one."""

    def show_cursor(self, show: bool = True) -> bool:
        """Nothing."""
        return False


def is_live() -> bool:
    """Whether standard output is a terminal that can be drawn on, and no machine reads it."""
    is_plain = os.environ.get("CI") or os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return not is_plain and encoding == "utf8" and sys.stdout.isatty()


def terminal_console() -> Console:
    """Standard output, for views; text is never read as markup."""
    return _Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


@contextmanager
def display(look: Look) -> Iterator[None]:
    """Show a search for the time of a `with` block; its last state stays."""
    with _live(look) if is_live() else _plain(look):
        yield


@contextmanager
def _live(look: Look) -> Iterator[None]:
    view = LiveView()

    def current() -> LiveView:
        view.show(look())
        return view

    live = Live(
        console=terminal_console(), get_renderable=current, refresh_per_second=_LOOKS_A_SECOND
    )
    with live, _libraries_write_above():
        yield


@contextmanager
def _libraries_write_above() -> Iterator[None]:
    """Let log handlers that hold the terminal write above the view, as `print` does."""
    moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
    known = [logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in known for handler in logger.handlers}:
        if not isinstance(handler, logging.StreamHandler):
            continue
        for ours, now in ((sys.__stdout__, sys.stdout), (sys.__stderr__, sys.stderr)):
            if handler.stream is ours and ours is not None:
                moved.append((handler, ours))
                handler.setStream(now)
    try:
        yield
    finally:
        for handler, before in moved:
            handler.setStream(before)


@contextmanager
def _plain(look: Look) -> Iterator[None]:
    stop = threading.Event()

    def tell() -> None:
        for line in lines_when_due(look, wait=lambda: not stop.wait(1.0)):
            print(line, flush=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def lines_when_due(look: Look, *, wait: Callable[[], bool]) -> Iterator[str]:
    """Lines of progress, each when there is something to say.

    Args:
        look: gives the overview.
        wait: waits for the next look; whether there is one.
    """
    told: Overview | None = None
    told_at = time.monotonic()
    while wait():
        overview = look()
        if overview is None or not is_due(told, overview, time.monotonic() - told_at):
            continue
        is_new = _best_so_far(overview) != _best_so_far(told)
        yield progress_line(overview, datetime.now(UTC), with_parameters=is_new)
        told, told_at = overview, time.monotonic()


def is_due(told: Overview | None, overview: Overview, seconds: float) -> bool:
    """Whether a line is due: another best, another phase, or enough time.

    Args:
        told: what the last line told; None before the first.
        overview: what there is to tell.
        seconds: since the last line.
    """
    if seconds >= max(_FEWEST_SECONDS, _SHARE_OF_ELAPSED * overview.seconds):
        return True
    if told is None:
        return overview.best is not None
    return _best_so_far(overview) != _best_so_far(told) or overview.phase != told.phase


def _best_so_far(overview: Overview | None) -> str | None:
    return overview.best.trial_id if overview and overview.best else None
