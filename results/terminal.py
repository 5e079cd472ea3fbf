"""What a terminal shows of a running search: a live view, or now and then a line."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.live import Live

from results.live_view import LiveView
from results.overview import Overview
from results.wording import progress_line

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


def terminal() -> Console:
    """Standard output, for views; text is never read as markup."""
    return _Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


@contextmanager
def shown(look: Look) -> Iterator[None]:
    """Show a search for the time of a `with` block; its last state stays."""
    with _live(look) if is_live() else _plain(look):
        yield


@contextmanager
def _live(look: Look) -> Iterator[None]:
    view = LiveView()

    def current() -> LiveView:
        view.show(look())
        return view

    live = Live(console=terminal(), get_renderable=current, refresh_per_second=_LOOKS_A_SECOND)
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
        is_new = _best(overview) != _best(told)
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
    return _best(overview) != _best(told) or overview.phase != told.phase


def _best(overview: Overview | None) -> str | None:
    return overview.best.trial_id if overview and overview.best else None
