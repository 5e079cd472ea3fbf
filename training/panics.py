"""Panics of libraries written in Rust (tokenizers, safetensors), raised as Python errors."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STDERR = 2


@contextmanager
def panics_are_errors() -> Iterator[None]:
    """Raise a panic as an error that `except Exception` catches.

    Raises:
        RuntimeError: instead of the panic.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # no module exports the class
            raise
        raise RuntimeError(f"a library broke down: {error}") from error


@contextmanager
def silenced_panics() -> Iterator[None]:
    """Discard what a library writes to standard error about its panic; an error follows anyway."""
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
