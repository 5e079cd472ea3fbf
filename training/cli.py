"""How every command ends: one line an error on stderr, and an exit code that says which kind."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from training.errors import InputError

DONE = 0
ENVIRONMENT_FAILED = 1
BAD_INPUT = 2
GATE_NOT_MET = 3
SEARCH_ABORTED = 4
INTERRUPTED = 130
_SIGNALLED = 128
"""Exit codes above it are of signals."""

_LONGEST_LINE = 1000
"""Characters of an error's line."""


def run_command(
    main: Callable[[Sequence[str]], int],
    *,
    bad_input: tuple[type[Exception], ...] = (),
    environment: tuple[type[Exception], ...] = (),
    after_interrupt: str = "the same command starts again",
) -> int:
    """Run `main` on the command line and turn what users and machines cause into exit codes.

    Args:
        main: takes the arguments, returns an exit code.
        bad_input: exceptions beside `InputError` whose message is a line for the user, code 2.
        environment: exceptions beside `OSError` and `MemoryError` that are the machine's, code 1.
        after_interrupt: how to go on after Ctrl-C.
    """
    users: tuple[type[Exception], ...] = (InputError, *bad_input)
    if sys.stderr is None:  # closed; None to `print` would be standard output
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        if signal.getsignal(signal.SIGINT) is _end_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return main(sys.argv[1:])
    except users as error:
        return _say(*getattr(error, "problems", [str(error)]), code=BAD_INPUT)
    except environment as error:
        return _say(str(error), code=ENVIRONMENT_FAILED)
    except BrokenPipeError:
        return ENVIRONMENT_FAILED  # whoever read our output has gone
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        reason = f"{error.strerror or error}{place}; free or repair it"
        return _say(reason, code=ENVIRONMENT_FAILED)
    except MemoryError:
        return _say(
            "out of memory; use smaller batches, a shorter max_length, or fewer trials at once",
            code=ENVIRONMENT_FAILED,
        )
    except KeyboardInterrupt:
        return _say(f"interrupted; {after_interrupt}", code=INTERRUPTED)


def end_process(code: int) -> NoReturn:
    """End the process; after an interrupt without what libraries do then, which takes seconds."""
    if code <= _SIGNALLED:
        raise SystemExit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or whoever read it has gone
            stream.flush()
    os._exit(code)


def interrupts_end_at_once() -> None:
    """Until `run_command`, let Ctrl-C end the process with one line instead of a traceback.

    For the entry modules, whose imports take seconds. Where Ctrl-C is ignored, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    # Not by an exception: what is being imported may catch it, or wrap it in one of its own.
    os._exit(_say("interrupted", code=INTERRUPTED))


def _say(*lines: str, code: int) -> int:
    for line in lines:
        print(f"error: {_printable(line)}", file=sys.stderr)
    return code


def _printable(line: str) -> str:
    """The line without what commands a terminal, and its middle left out where it is too long.

    Values of files and options stand in it, whatever they are; its ends say where and what next.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    if len(shown) <= _LONGEST_LINE:
        return shown
    half = _LONGEST_LINE // 2
    return f"{shown[:half]} ... {shown[-half:]}"


def excerpt(text: str, length: int = 60) -> str:
    """The text in one line of at most `length` characters."""
    line = " ".join(text.split()) if len(text.split()) > 1 else text
    return line if len(line) <= length else line[: length - 3] + "..."
