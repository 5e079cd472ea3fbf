"""The lock of a run: one process writes it at a time, whichever machine it runs on.

`.lock` names its holder. It is claimed by a hard link and taken over by a rename, which are atomic
on NFS too, where `flock` is not to be relied on.
"""

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from results.errors import RunError
from results.holder import (
    UNREADABLE,
    Holder,
    bump,
    is_alive,
    read_holder,
    seems_alive,
    this_process,
)

logger = logging.getLogger(__name__)

HEARTBEAT_S = 5.0
"""Seconds between two signs of life; after three without, another machine takes the lock over."""

_NAME = ".lock"
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def hold(directory: Path, *, interval_s: float = HEARTBEAT_S) -> Iterator[None]:
    """Keep every other process from holding `directory` for the time of a `with` block.

    The lock of a holder that died, or whose machine did, is taken over. For one on another machine
    that takes three of its heartbeats: no clocks are compared.

    Args:
        directory: what is held; `.lock` is made in it and removed at the end.
        interval_s: seconds between two heartbeats.

    Raises:
        RunError: a living process holds it.
        OSError: the directory cannot be written.
    """
    path, mine = directory / _NAME, this_process(interval_s)
    _take(path, mine)
    _sweep(directory, mine)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, stop), name="lock", daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        _release(path, mine)


def is_held(directory: Path) -> bool:
    """Whether a living process holds `directory`; changes nothing and does not wait.

    Of another machine it is known only that it gave a sign of life in the last 60 seconds, by the
    clocks of this machine and of the file server.
    """
    path = directory / _NAME
    holder = read_holder(path)
    return holder is not None and seems_alive(holder, path)


def _take(path: Path, mine: Holder) -> None:
    """Make `path` name us, where it names nobody or a dead process.

    Raises:
        RunError: it names a living one.
    """
    while not _link(path, mine):
        found = read_holder(path)
        if found is None:
            continue  # released in this moment
        if is_alive(found, path):
            raise RunError(
                f"run {path.parent}: another process is writing it: {found}; wait for its end, or"
                f" end it first (kill {found.process} on {found.host})"
            )
        _replace(path, found, mine)


def _replace(path: Path, dead: Holder, mine: Holder) -> None:
    """Replace the lock of a dead process, unless somebody else did it before.

    Several may find it dead, and the slowest must not replace the fresh lock of the fastest. So
    only who holds the file named after the dead one's token may do it. That file is a lock itself:
    of a process that was killed with it, it is taken over in the same way.
    """
    right = path.with_name(f"{path.name}.{dead.token}")
    _take(right, mine)
    found = read_holder(path)
    if found is None or found.token != dead.token:
        right.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):  # NFS repeats a rename whose answer was lost; `_take` looks
        right.replace(path)
    if path.name == _NAME:
        what = "a lock that cannot be read" if dead == UNREADABLE else f"the lock of dead {dead}"
        logger.warning("run %s: took over %s", path.parent, what)


def _link(path: Path, mine: Holder) -> bool:
    """Make `path` at once and whole; whether it names us, now or from before."""
    aside = path.with_name(f"{_NAME}.{uuid4().hex}")
    try:
        _write(aside, mine)
        # `path` may be there by our own doing, for NFS repeats a link whose answer was lost, and
        # `aside` gone, swept away by whoever was faster.
        with suppress(FileExistsError, FileNotFoundError):
            _place(aside, path, mine)
        found = read_holder(path)
        return found is not None and found.token == mine.token
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, holder: Holder) -> None:
    with path.open("xb") as file:
        file.write(holder.as_bytes())
        file.flush()
        os.fsync(file.fileno())


def _place(aside: Path, path: Path, mine: Holder) -> None:
    try:
        path.hardlink_to(aside)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _write(path, mine)  # FAT, some shared folders; readers look twice


def _sweep(directory: Path, mine: Holder) -> None:
    """Remove what killed processes left beside the lock that we hold now."""
    for path in directory.glob(f"{_NAME}.*"):
        # A file after our own token is the business of one who thinks us dead.
        if path.name != f"{_NAME}.{mine.token}":
            path.unlink(missing_ok=True)


def _beat(path: Path, mine: Holder, stop: threading.Event) -> None:
    count = 0
    while not stop.wait(mine.interval_s):
        count += 1
        with suppress(OSError):  # passing: the next beat may succeed
            if not bump(path, mine, count):
                logger.warning(
                    "run %s: its lock is no longer ours; another process may be writing it, so end"
                    " this one",
                    path.parent,
                )
                return


def _release(path: Path, mine: Holder) -> None:
    if mine.process != os.getpid():
        return  # a forked child that leaves the block: its parent goes on
    with suppress(OSError):  # it dies with the process, and what was done is done
        found = read_holder(path)
        if found is not None and found.token == mine.token:
            path.unlink(missing_ok=True)
