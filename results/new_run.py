"""A run's directory made: whole, or not at all."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from results.errors import RunError
from results.run import Run


def check_new_run(directory: Path, name: str | None) -> None:
    """Make sure, before anything is made, that `create_run` would succeed.

    Raises:
        RunError: as `create_run`.
    """
    directory = directory.absolute()
    try:
        if name is not None and (directory / name).exists():
            raise _taken(directory, name)
        place = next(path for path in (directory, *directory.parents) if path.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _not_writable(directory, error) from error


def create_run(directory: Path, name: str, fill: Callable[[Run], None] = lambda _: None) -> Run:
    """Make the directory of a new run, with what `fill` writes in it or not at all.

    A process that is killed on the way leaves no run that could neither begin nor go on.

    Raises:
        RunError: the name is taken, or the directory cannot be written.
        OSError: the disk is full.
    """
    path = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A directory deeper: what a kill leaves of it is never found as a run.
        with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as scratch:
            new = Path(scratch) / name
            new.mkdir()
            fill(Run(new))
            if path.exists():  # a rename would replace an empty directory
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
            new.rename(path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and path.exists():
            raise _taken(directory, name) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the machine's, not the user's
        raise _not_writable(directory, error) from error
    return Run(path.absolute())


def _taken(directory: Path, name: str) -> RunError:
    return RunError(
        f"output.name is {name!r}, but {directory} holds a run of that name; choose another --name,"
        " or go on with that run by --resume"
    )


def _not_writable(directory: Path, error: OSError) -> RunError:
    return RunError(
        f"output.directory is {os.fspath(directory)!r}, but it cannot be written"
        f" ({error.strerror}); choose a directory that you may write with --output.directory"
    )
