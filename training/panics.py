"""Panics of libraries in Rust: no `Exception`, and told by the library over several lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2


@contextmanager
def panics_are_errors() -> Iterator[None]:
    """Let a panic be an error like any other.

    Raises:
        RuntimeError: in place of the panic.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a class that no module gives away
            raise
        raise RuntimeError(f"a library broke down: {error}") from error


@contextmanager
def untold_panics() -> Iterator[None]:
    """Keep back what a library writes about its panic: the error that follows says it in a line."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(_STDERR)
    except OSError:  # standard error is closed
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
