"""The lock of a run: one process writes it at a time, whichever machine it runs on.

`.lock` names its holder. It is claimed by a hard link and taken over by a rename, which are atomic
on NFS too, where `flock` is not to be relied on.
"""

import errno
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import psutil
from pydantic import Field, TypeAdapter, ValidationError

from results.errors import RunError

logger = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_BEATS_WATCHED = 3
_LATELY_S = 60.0
_SAME_START_S = 0.5  # far above rounding, far below the time in which a pid comes round again
_COUNTER_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """The process that a lock speaks of, as JSON in the lock's file."""

    host: str
    """Name of its machine."""
    boot: str
    """Id of the machine's boot; where /proc gives none (macOS), the time of it."""
    pid_namespace: str
    """Where its process id counts (containers); empty where /proc tells nothing of it."""
    process: Annotated[int, Field(gt=0)]
    """Process id."""
    process_started: float
    """Seconds from the boot, or since 1970 where /proc gives no boot id."""
    since: str
    """When it took the lock: UTC, for people."""
    token: str
    """Unique to one taking of one lock."""
    interval_s: Annotated[float, Field(gt=0)]
    """Seconds between two heartbeats."""
    heartbeat: int = 0
    """Grows as long as the holder lives."""

    def as_bytes(self) -> bytes:
        """The lock's content, of the same length whatever the heartbeat."""
        fields = asdict(self)
        # Blanks before the number are still JSON; a reader meets old or new digits, never a tear.
        counter = f"{fields.pop('heartbeat'):{_COUNTER_DIGITS}d}"
        return f'{json.dumps(fields)[:-1]}, "heartbeat": {counter}}}\n'.encode()

    def __str__(self) -> str:
        return f"process {self.process} on host {self.host}, since {self.since}"


_HOLDER = TypeAdapter(LockOwner)

UNREADABLE = LockOwner(
    host="",
    boot="",
    pid_namespace="",
    process=1,
    process_started=0.0,
    since="",
    token="unreadable",
    interval_s=1.0,
)
"""Whoever left a file that is no lock: a kill, a damaged disk, an earlier version."""


def this_process(interval_s: float) -> LockOwner:
    """The calling process, with a token of its own."""
    try:
        pid_namespace = str(_PID_NAMESPACE.readlink())
    except OSError:
        pid_namespace = ""
    process = psutil.Process()
    return LockOwner(
        host=socket.gethostname(),
        boot=_boot(),
        pid_namespace=pid_namespace,
        process=process.pid,
        process_started=_started(process),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid4().hex,
        interval_s=interval_s,
    )


def read_owner(path: Path) -> LockOwner | None:
    """The holder named in a file, `UNREADABLE` where it names none; None: there is no file."""
    for pause_s in (0.1, 0.0):
        try:
            # Opened anew for each look: that is when NFS asks the server.
            return _HOLDER.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            time.sleep(pause_s)  # without hard links a lock is written where it lies
    return UNREADABLE


def is_alive(holder: LockOwner, path: Path) -> bool:
    """Whether the holder found in `path` lives; takes three heartbeats for another machine."""
    if holder == UNREADABLE:
        return False
    here = this_process(1.0)
    if _same_machine(holder, here):
        return _runs(holder)
    # A machine that came up again. Two machines of one name do occur, so the dead is never fresh.
    if holder.host == here.host and holder.boot != here.boot and not _beat_lately(path):
        return False
    return _beats(holder, path)


def seems_alive(holder: LockOwner, path: Path) -> bool:
    """The same at once: of another machine, whether it beat in the last 60 seconds.

    That compares the clocks of this machine and of the file server: good enough to tell a user,
    not to take a lock over.
    """
    if holder == UNREADABLE:
        return False
    if _same_machine(holder, this_process(1.0)):
        return _runs(holder)
    return _beat_lately(path)


def _same_machine(one: LockOwner, other: LockOwner) -> bool:
    return (one.host, one.boot, one.pid_namespace) == (other.host, other.boot, other.pid_namespace)


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _started(process: psutil.Process) -> float:
    """When a process began, by a measure that setting the clock does not change."""
    # On Linux psutil adds the boot time, which moves with the clock; elsewhere it is as noted then.
    added = psutil.boot_time() if _BOOT_ID.exists() else 0.0
    return round(float(process.create_time() - added), 2)


def _runs(holder: LockOwner) -> bool:
    try:
        process = psutil.Process(holder.process)
        if abs(_started(process) - holder.process_started) > _SAME_START_S:
            return False  # the number was given to another process
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # another user's, of which /proc tells nothing more


def _beats(holder: LockOwner, path: Path) -> bool:
    seconds = _BEATS_WATCHED * holder.interval_s
    logger.warning(
        "run %s: waiting up to %.1f s for a sign of life of %s", path.parent, seconds, holder
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(holder.interval_s / 4)
        found = read_owner(path)
        if found is None or found.token != holder.token:
            return False  # released, or another's by now
        if found.heartbeat != holder.heartbeat:
            return True
    return False


def _beat_lately(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _LATELY_S
    except FileNotFoundError:
        return False


def bump(path: Path, holder: LockOwner, heartbeat: int) -> bool:
    """Write the next heartbeat where the lock lies; False, and nothing done, if it is not ours."""
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return False
    with file:
        try:
            found = _HOLDER.validate_json(file.read())
        except ValidationError:
            return False
        if found.token != holder.token:
            return False
        # In place: no new block, so a full disk takes it; into the very file that was looked at,
        # so a lock that was taken over in this moment is not touched.
        file.seek(0)
        file.write(replace(holder, heartbeat=heartbeat).as_bytes())
    return True


HEARTBEAT_S = 5.0
"""Seconds between two signs of life; after three without, another machine takes the lock over."""

_NAME = ".lock"
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def acquire(directory: Path, *, interval_s: float = HEARTBEAT_S) -> Iterator[None]:
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


def is_locked(directory: Path) -> bool:
    """Whether a living process holds `directory`; changes nothing and does not wait.

    Of another machine it is known only that it gave a sign of life in the last 60 seconds, by the
    clocks of this machine and of the file server.
    """
    path = directory / _NAME
    holder = read_owner(path)
    return holder is not None and seems_alive(holder, path)


def _take(path: Path, mine: LockOwner) -> None:
    """Make `path` name us, where it names nobody or a dead process.

    Raises:
        RunError: it names a living one.
    """
    while not _link(path, mine):
        found = read_owner(path)
        if found is None:
            continue  # released in this moment
        if is_alive(found, path):
            raise RunError(
                f"run {path.parent}: another process is writing it: {found}; wait for its end, or"
                f" end it first (kill {found.process} on {found.host})"
            )
        _replace(path, found, mine)


def _replace(path: Path, dead: LockOwner, mine: LockOwner) -> None:
    """Replace the lock of a dead process, unless somebody else did it before.

    Several may find it dead, and the slowest must not replace the fresh lock of the fastest. So
    only who holds the file named after the dead one's token may do it. That file is a lock itself:
    of a process that was killed with it, it is taken over in the same way.
    """
    right = path.with_name(f"{path.name}.{dead.token}")
    _take(right, mine)
    found = read_owner(path)
    if found is None or found.token != dead.token:
        right.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):  # NFS repeats a rename whose answer was lost; `_take` looks
        right.replace(path)
    if path.name == _NAME:
        what = "a lock that cannot be read" if dead == UNREADABLE else f"the lock of dead {dead}"
        logger.warning("run %s: took over %s", path.parent, what)


def _link(path: Path, mine: LockOwner) -> bool:
    """Make `path` at once and whole; whether it names us, now or from before."""
    aside = path.with_name(f"{_NAME}.{uuid4().hex}")
    try:
        _write(aside, mine)
        # `path` may be there by our own doing, for NFS repeats a link whose answer was lost, and
        # `aside` gone, swept away by whoever was faster.
        with suppress(FileExistsError, FileNotFoundError):
            _place(aside, path, mine)
        found = read_owner(path)
        return found is not None and found.token == mine.token
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, holder: LockOwner) -> None:
    with path.open("xb") as file:
        file.write(holder.as_bytes())
        file.flush()
        os.fsync(file.fileno())


def _place(aside: Path, path: Path, mine: LockOwner) -> None:
    try:
        path.hardlink_to(aside)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _write(path, mine)  # FAT, some shared folders; readers look twice


def _sweep(directory: Path, mine: LockOwner) -> None:
    """Remove what killed processes left beside the lock that we hold now."""
    for path in directory.glob(f"{_NAME}.*"):
        # A file after our own token is the business of one who thinks us dead.
        if path.name != f"{_NAME}.{mine.token}":
            path.unlink(missing_ok=True)


def _beat(path: Path, mine: LockOwner, stop: threading.Event) -> None:
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


def _release(path: Path, mine: LockOwner) -> None:
    if mine.process != os.getpid():
        return  # a forked child that leaves the block: its parent goes on
    with suppress(OSError):  # it dies with the process, and what was done is done
        found = read_owner(path)
        if found is not None and found.token == mine.token:
            path.unlink(missing_ok=True)
