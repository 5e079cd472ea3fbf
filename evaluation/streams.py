"""Open the input and the output of a command: files, pipes and standard streams."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from training.errors import InputError
from training.table_bytes import Codec, codec_of

_DEVICES = (Path("/dev"), Path("/dev/fd"))  # not /dev/shm, which holds files


@contextmanager
def open_input(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for `-`, as unbuffered bytes.

    Raises:
        InputError: the file cannot be opened.
    """
    if name == "-" and sys.stdin is None:
        raise InputError(
            "--input is '-', but standard input is closed and must be open; give a file, or open it"
        )
    try:
        if name == "-":
            file: BinaryIO = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        else:
            file = Path(name).open("rb", buffering=0)  # noqa: SIM115  # both closed below
    except OSError as error:
        raise InputError(
            f"--input is {name!r}, but it cannot be read ({error.strerror}); give a CSV, JSON"
            " Lines or Parquet file, or - for standard input"
        ) from error
    with file:
        yield file


@contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard output for `-`, for bytes; the ending of the name may compress it.

    A file is written as `NAME.part` and renamed at the end, so that a file with the name is always
    complete; an existing file stays until then. If the command ends early, the part remains with
    the rows that are done. A device, a pipe or an open file, such as `/dev/stdout`, is appended to
    directly.

    Raises:
        InputError: the file cannot be written.
    """
    if name == "-":
        if sys.stdout is None:
            raise InputError(
                "--output is '-', but standard output is closed and must be open; give a file, or"
                " open it"
            )
        with open(sys.stdout.fileno(), "wb", closefd=False) as file:
            yield file
        return
    try:
        part = part_of(name)
        is_direct = part == Path(name)
        if Path(name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        file = part.open("ab" if is_direct else "wb")
    except OSError as error:
        raise InputError(
            f"--output is {name!r}, but it cannot be written ({error.strerror}); give a file in an"
            " existing directory, or - for standard output"
        ) from error
    with file:
        with _compress(file, codec_of(name)) as compressed:
            yield compressed
        file.flush()
        if not is_direct:
            os.fsync(file.fileno())
    if not is_direct:
        part.replace(Path(name).resolve())  # a link stays a link


@contextmanager
def _compress(file: BinaryIO, codec: Codec | None) -> Iterator[BinaryIO]:
    if codec is None:
        yield file
        return
    import pyarrow as pa

    with pa.CompressedOutputStream(pa.PythonFile(_StaysOpen(file), mode="w"), codec) as stream:
        yield stream


class _StaysOpen:
    """A file that stays open when a library closes it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self.write, self.flush, self.tell = file.write, file.flush, file.tell

    def close(self) -> None:
        """Leave it open."""


def part_of(name: str) -> Path:
    """Return the path that rows are written to until the output is complete.

    It is a file in the same directory; for a device, a pipe or an open file, the output itself.

    Raises:
        OSError: no file can have this name.
    """
    if _is_direct(Path(name)):
        return Path(name)
    target = Path(name).resolve()
    return target.with_name(f"{target.name}.part")


def _is_direct(path: Path) -> bool:
    """Return whether a name is a device, a pipe or an open file, or a link to one of these."""
    try:
        mode = path.stat().st_mode  # first, because a link to itself raises OSError here
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        return not stat.S_ISDIR(mode)
    # /dev/stdout leads through /proc to a regular file that may contain other output.
    while True:
        directory = path.parent.resolve()
        if directory in _DEVICES or directory.is_relative_to("/proc"):
            return True
        if not path.is_symlink():
            return False
        path = directory / path.readlink()
