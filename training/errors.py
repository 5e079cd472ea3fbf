"""The exceptions of this package, and panics of Rust libraries raised as Python errors."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


class InputError(ValueError):
    """Bad options, configuration or data; a command prints each problem and exits with code 2.

    Each problem is one line: what is wrong, where, the value received, the rule, the next step.
    """

    def __init__(self, *problems: str) -> None:
        # Names of files, columns and keys come from the user and may hold line breaks.
        self.problems: Sequence[str] = tuple(" ".join(line.splitlines()) for line in problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """Collects what independent checks raise, so that a user sees every problem in one answer."""

    def __init__(self, *kinds: type[Exception]) -> None:
        """Collect each `InputError`, and these exceptions, whose message is one line."""
        self._kinds: tuple[type[Exception], ...] = (InputError, *kinds)
        self._errors: list[Exception] = []

    def attempt(self, check: Callable[[], Result]) -> Result | None:
        """Return the result of a check; None: it raised, which is kept."""
        try:
            return check()
        except self._kinds as error:
            self._errors.append(error)
            return None

    def add(self, *lines: str) -> None:
        """Keep further problems, one line each."""
        self._errors += [InputError(*lines)] if lines else []

    @property
    def lines(self) -> list[str]:
        """The line of each problem, none twice."""
        lines = (getattr(error, "problems", [str(error)]) for error in self._errors)
        return list(dict.fromkeys(chain.from_iterable(lines)))

    def raise_any(self) -> None:
        """Raise what was collected: one exception as it is, several as one.

        Raises:
            InputError: with the lines of all.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise InputError(*self.lines)


class CheckpointError(OSError):
    """A checkpoint cannot be written; the message is one line for the user."""


class TrainingStoppedError(Exception):
    """A training stopped because the caller asked it to; it can be resumed from its checkpoint."""


class OnnxExportError(RuntimeError):
    """The model cannot be exported to ONNX; the message is one line that gives the reason."""


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
