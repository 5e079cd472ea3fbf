"""How a training can fail, as classes; and panics of libraries in Rust as errors."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Bad options, configuration or data: told in one line a problem, exit code 2.

    Each line says what is wrong, where, the value received, the rule and the next step.
    """

    def __init__(self, *problems: str) -> None:
        # Names of files, columns and keys are the user's and may hold line breaks.
        self.problems: Sequence[str] = tuple(" ".join(line.splitlines()) for line in problems)
        super().__init__("\n".join(self.problems))


class CheckpointError(OSError):
    """A checkpoint cannot be written; the message is one line for the user."""


class TrainingStoppedError(Exception):
    """A training was asked to stop and did; with a checkpoint it can go on from there."""


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
