"""How every command ends: one line an error on stderr, and an exit code that says which kind."""

import sys
from collections.abc import Callable, Sequence

from training.errors import InputError

DONE = 0
ENVIRONMENT_FAILED = 1
BAD_INPUT = 2
GATE_NOT_MET = 3
SEARCH_ABORTED = 4
INTERRUPTED = 130


def run_command(
    main: Callable[[Sequence[str]], int],
    *,
    bad_input: tuple[type[Exception], ...] = (),
    environment: tuple[type[Exception], ...] = (),
) -> int:
    """Run `main` on the command line and turn what users and machines cause into exit codes.

    Args:
        main: takes the arguments, returns an exit code.
        bad_input: exceptions beside `InputError` whose message is a line for the user, code 2.
        environment: exceptions beside `OSError` and `MemoryError` that are the machine's, code 1.
    """
    users: tuple[type[Exception], ...] = (InputError, *bad_input)
    try:
        return main(sys.argv[1:])
    except users as error:
        return _say(str(error), BAD_INPUT)
    except environment as error:
        return _say(str(error), ENVIRONMENT_FAILED)
    except BrokenPipeError:
        return ENVIRONMENT_FAILED  # whoever read our output has gone
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        return _say(f"{error.strerror or error}{place}; free or repair it", ENVIRONMENT_FAILED)
    except MemoryError:
        return _say(
            "out of memory; use smaller batches, a shorter max_length, or fewer trials at once",
            ENVIRONMENT_FAILED,
        )
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)


def _say(text: str, code: int) -> int:
    for line in text.splitlines():
        print(f"error: {line}", file=sys.stderr)
    return code
