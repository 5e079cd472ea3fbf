"""What the commands say: plain lines on the terminal, the same with times in the run's log."""

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
"""`extra` of lines that the run's log shall have, but not the terminal: it shows their sum."""

PACKAGES = ("tuning", "training", "evaluation", "cluster", "results")


class _ToTerminal(logging.StreamHandler[TextIO]):
    """Writes to what is standard output at the moment: a live view puts its own in place.

    A terminal would break long lines within words.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line; on a terminal as many lines as it takes."""
        text = printable(super().format(record))
        if not self.stream.isatty():
            return text
        width = shutil.get_terminal_size().columns
        return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)

    @property
    def stream(self) -> TextIO:
        """Standard output."""
        return sys.stdout

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Nothing: it is looked up each time."""


def log_to_terminal() -> None:
    """Print what our packages say, and nothing of what libraries say below a warning."""
    handler = _ToTerminal()
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


def _is_for_terminal(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not getattr(record, "is_detail", False)


def log_to_file(path: Path) -> None:
    """Append the same lines, and finer ones, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)


def quiet_libraries() -> None:
    """No progress bars and advice of libraries between our lines."""
    import transformers

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")


@contextmanager
def preserve_logging(lent: Sequence[str], *others: str) -> Iterator[None]:
    """Give loggers their handlers, levels and propagation back after a `with` block.

    Args:
        lent: names of loggers that are without handlers when it begins.
        others: names of loggers that are left as they are until something changes them.
    """
    loggers = [logging.getLogger(name) for name in (*lent, *others)]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    for name in lent:
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
