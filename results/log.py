"""Logging of the commands: plain lines on the terminal, the same lines with times in a file."""

import logging
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from training.cli import printable

DETAIL = {"is_detail": True}
"""`extra` of lines for the log file only: the terminal displays a summary of them."""

PACKAGES = ("tuning", "training", "evaluation", "cluster", "results")


def log_to_terminal(*, quiet: bool = False) -> None:
    """Print the log lines of our packages, and of libraries only warnings and errors.

    Args:
        quiet: print nothing; files that are added later get all lines.
    """
    handler = logging.NullHandler() if quiet else _ToTerminal()
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(_is_for_terminal)
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        for old in logger.handlers:
            old.close()
        logger.handlers = [handler]


def log_to_file(path: Path) -> None:
    """Append the same lines, and more detailed ones, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)


def quiet_libraries() -> None:
    """Switch off the progress bars and hints of libraries."""
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")


@contextmanager
def quieted_transformers() -> Iterator[None]:
    """Switch off progress bars and hints of transformers during a `with` block."""
    from transformers import logging as library

    verbosity, has_bars = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity_error()  # type: ignore[no-untyped-call]
    library.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if has_bars:
            library.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def preserve_logging(ours: Sequence[str], *others: str) -> Iterator[None]:
    """Restore the handlers, levels and propagation of loggers after a `with` block.

    Args:
        ours: names of loggers that have no handlers at the start of the block.
        others: names of loggers that keep their handlers in the block.
    """
    loggers = [logging.getLogger(name) for name in (*ours, *others)]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    for name in ours:
        logging.getLogger(name).handlers = []
    try:
        yield
    finally:
        kept = {handler for handlers, _, _ in before for handler in handlers}
        for handler in {handler for logger in loggers for handler in logger.handlers} - kept:
            handler.close()
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


class _ToTerminal(logging.StreamHandler[TextIO]):
    """Writes to the current standard output, which a live view replaces by its own.

    Long lines are broken between words, where a terminal would break them within words.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, broken into several on a terminal."""
        text = printable(super().format(record))
        if not self.stream.isatty():
            return text
        width = shutil.get_terminal_size().columns
        return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)

    @property
    def stream(self) -> TextIO:
        """Return the current standard output."""
        return sys.stdout

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Ignore the stream: it is read from `sys.stdout` each time."""


def _is_for_terminal(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not getattr(record, "is_detail", False)
