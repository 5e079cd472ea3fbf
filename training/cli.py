"""Command-line tools: exit codes, option parser, error lines, suggestions, URIs without passwords.

Every command of every package uses it. A new exit code is a new member of `ExitCode`. The module
imports only Python's standard library, so that `-h` of a command appears at once.
"""

import argparse
import difflib
import enum
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Never, NoReturn

from training.errors import InputError


class ExitCode(enum.IntEnum):
    """How a command ended, for scripts; tuning/README.md explains each, which a test holds."""

    DONE = 0
    ENVIRONMENT_FAILED = 1
    """Disk, storage, cluster or memory."""
    BAD_INPUT = 2
    """An option, the configuration or the data is wrong, or a second test access is refused."""
    GATE_NOT_MET = 3
    """The model is trained and evaluated, but misses a quality gate."""
    SEARCH_ABORTED = 4
    """The trials fail alike, or none of them has a score."""
    INTERRUPTED = 130
    """By Ctrl-C (SIGINT)."""
    TERMINATED = 143
    """By SIGTERM."""


_LAST_BEFORE_SIGNALS = 128
"""Exit codes above it are 128 + the number of a signal."""

_LONGEST_LINE = 1000
"""Characters of an error line."""


def run_command(
    main: Callable[[Sequence[str]], int],
    *,
    bad_input: tuple[type[Exception], ...] = (),
    environment: tuple[type[Exception], ...] = (),
    after_interrupt: str = "the same command starts again",
) -> int:
    """Run `main` on the command line; turn errors that users and machines cause into exit codes.

    Args:
        main: takes the arguments and returns an exit code.
        bad_input: exceptions that, like `InputError`, end the command with `BAD_INPUT`; their
            message is a line for the user.
        environment: exceptions that, like `OSError` and `MemoryError`, end the command with
            `ENVIRONMENT_FAILED`.
        after_interrupt: how to continue after Ctrl-C.
    """
    users: tuple[type[Exception], ...] = (InputError, *bad_input)
    if sys.stderr is None:  # it is closed, and `print` would write to standard output instead
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        if signal.getsignal(signal.SIGINT) is _exit_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main(sys.argv[1:])
    except users as error:
        print_errors(*getattr(error, "problems", [str(error)]))
        return ExitCode.BAD_INPUT
    except environment as error:
        print_errors(str(error))
        return ExitCode.ENVIRONMENT_FAILED
    except BrokenPipeError:  # the process that read our output has ended
        return ExitCode.ENVIRONMENT_FAILED
    except OSError as error:
        path = f": {error.filename}" if error.filename else ""
        print_errors(f"{error.strerror or error}{path}; free or repair it")
        return ExitCode.ENVIRONMENT_FAILED
    except MemoryError:
        print_errors(
            "out of memory; use smaller batches, a shorter max_length, or fewer concurrent trials"
        )
        return ExitCode.ENVIRONMENT_FAILED
    except KeyboardInterrupt:
        print_errors(f"interrupted; {after_interrupt}")
        return ExitCode.INTERRUPTED


def exit_on_interrupt() -> None:
    """Let Ctrl-C end the process with one line instead of a traceback, until `run_command`.

    Entry modules call it before their other imports, which take seconds. A process that ignores
    Ctrl-C continues to ignore it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit_at_once)


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    # An exception could be caught by the module that is being imported.
    print_errors("interrupted")
    os._exit(ExitCode.INTERRUPTED)


def end_process(code: int) -> NoReturn:
    """End the process; after a signal without exit handlers of libraries, which take seconds."""
    if code <= _LAST_BEFORE_SIGNALS:
        raise SystemExit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or its reader has ended
            stream.flush()
    os._exit(code)


class OptionParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on stderr and `ExitCode.BAD_INPUT`."""

    def __init__(self, **kwargs: Any) -> None:
        """Take the arguments of `argparse.ArgumentParser`; abbreviations are not accepted."""
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> Never:
        """Print the problem and where the help is, and exit with `ExitCode.BAD_INPUT`."""
        print_errors(f"{message}; see {self.prog} -h")
        raise SystemExit(ExitCode.BAD_INPUT)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action,
                f"is {shorten(value)}, but must be one of {', '.join(names)};"
                f" {nearest(str(value), names, otherwise='choose one')}",
            )

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments; an unknown option is an error that suggests the nearest one.

        Raises:
            InputError: one line for every unknown option.
        """
        known, unknown = self.parse_known_args(list(arguments))
        if unknown:
            options = [name for name in self._option_string_actions if name.startswith("--")]
            # The argument after an unknown option is its value, not a second mistake.
            names = [argument for argument in unknown if argument.startswith("-")] or unknown
            raise InputError(*(_unknown(name, options) for name in names))
        return known


def _unknown(argument: str, options: Sequence[str]) -> str:
    name = argument.partition("=")[0]
    return f"unknown option {name}; {nearest(name, options, otherwise='-h lists the options')}"


def print_errors(*problems: str) -> None:
    """Print each problem on stderr as one line that starts with `error:`.

    The lines hold values of files and options. A line that is too long loses its middle: its
    start states where the problem is, its end the next step.
    """
    for problem in problems:
        line = printable(problem).replace("\n", "\\n")
        if len(line) > _LONGEST_LINE:
            half = _LONGEST_LINE // 2
            line = f"{line[:half]} ... {line[-half:]}"
        print(f"error: {line}", file=sys.stderr)


def printable(text: str) -> str:
    """Return the text with control characters of terminals as escapes; line breaks remain."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def nearest(name: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """Return the clause `did you mean ...?` with the known name that is most like `name`.

    Args:
        name: as the user wrote it; upper and lower case are alike.
        known: names that would be accepted.
        otherwise: returned when no known name is similar; None: a list of all of them.
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_lower[close[0]]}?"
    return f"choose from {', '.join(by_lower.values())}" if otherwise is None else otherwise


def shorten(value: object, limit: int = 80) -> str:
    """Return `repr` of a value, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def excerpt(text: str, length: int = 60) -> str:
    """Return the text as one line of at most `length` characters."""
    line = " ".join(text.split()) if len(text.split()) > 1 else text
    return line if len(line) <= length else line[: length - 3] + "..."


_USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@]*:(?!\d+/)[^@]*@")
"""Passwords may hold slashes; digits before a slash are a port."""
_QUERY = re.compile(r"\?\S*")
_SECRET_IN_QUERY = re.compile(r"[?&][^=&]*(key|secret|token|password|passwd|signature|sig)=", re.I)


def is_uri(location: str) -> bool:
    """Return whether a location is a URI and not a path of this machine."""
    return "://" in location


def has_secret(location: str) -> bool:
    """Return whether a location is a URI that holds a password, or a key in its query."""
    secret = _USER_AND_PASSWORD.search(location) or _SECRET_IN_QUERY.search(location)
    return is_uri(location) and secret is not None


def hide_secrets(text: str) -> str:
    """Return a location, or a message that names one, without passwords and queries of URIs."""
    return _QUERY.sub("?...", _USER_AND_PASSWORD.sub("***@", text)) if is_uri(text) else text
