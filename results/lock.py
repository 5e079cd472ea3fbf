"""The lock of a run directory: one process writes a run at a time, whichever machine it runs on.

The file `.lock` names its owner. It is created by a hard link and taken over by a rename: both are
atomic on NFS too, where `flock` is unreliable. The owner writes a heartbeat into it.
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

HEARTBEAT_S = 5.0
"""Seconds between two heartbeats; after three missing ones another machine takes the lock over."""

_NAME = ".lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_HEARTBEATS_AWAITED = 3
_RECENT_S = 60.0
_START_TOLERANCE_S = 0.5  # far above rounding, far below the time until a process id is reused
_COUNTER_DIGITS = 12
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, kw_only=True)
class LockOwner:
    """The process that owns a lock; the fields are the JSON keys of the lock file."""

    host: str
    """Name of its machine."""
    boot: str
    """Id of the machine's boot; where /proc has none (macOS), the time of the boot."""
    pid_namespace: str
    """Namespace of its process id (containers); empty where /proc has none."""
    process: Annotated[int, Field(gt=0)]
    """Process id."""
    process_started: float
    """Seconds from the boot to its start, or since 1970 where /proc has no boot id."""
    since: str
    """When it acquired the lock: UTC, for people."""
    token: str
    """Unique to one acquisition of one lock."""
    interval_s: Annotated[float, Field(gt=0)]
    """Seconds between two heartbeats."""
    heartbeat: int = 0
    """Number of heartbeats so far."""

    def as_bytes(self) -> bytes:
        """Return the content of the lock file, whose length does not depend on the heartbeat."""
        fields = asdict(self)
        # JSON allows blanks before the number: a reader gets the old or the new digits, never both.
        counter = f"{fields.pop('heartbeat'):{_COUNTER_DIGITS}d}"
        return f'{json.dumps(fields)[:-1]}, "heartbeat": {counter}}}\n'.encode()

    def __str__(self) -> str:
        return f"process {self.process} on host {self.host}, since {self.since}"


_OWNER_ADAPTER = TypeAdapter(LockOwner)

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
"""Owner of a lock file without valid content, as a killed process or a damaged disk leaves it."""


@contextmanager
def acquire(directory: Path, *, interval_s: float = HEARTBEAT_S) -> Iterator[None]:
    """Own the lock of `directory` during a `with` block.

    A lock whose owner is dead is taken over: at once if the owner ran on this machine, else after
    three missing heartbeats. No clocks of two machines are compared.

    Args:
        directory: `.lock` is created in it, and removed at the end.
        interval_s: seconds between two heartbeats.

    Raises:
        RunError: a living process owns the lock.
        OSError: the directory cannot be written.
    """
    path, mine = directory / _NAME, this_process(interval_s)
    _acquire(path, mine)
    _remove_leftovers(directory, mine)
    stop = threading.Event()
    heart = threading.Thread(
        target=_send_heartbeats, args=(path, mine, stop), name="lock", daemon=True
    )
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join()
        _release(path, mine)


def is_locked(directory: Path) -> bool:
    """Return whether a living process owns the lock of `directory`; change nothing, do not wait.

    An owner on another machine counts as living if it sent a heartbeat in the last 60 seconds. That
    compares the clocks of this machine and of the file server, which is precise enough to inform a
    user, but not to take the lock over.
    """
    path = directory / _NAME
    owner = read_owner(path)
    if owner is None or owner == UNREADABLE:
        return False
    return _runs(owner) if _is_here(owner) else _has_recent_heartbeat(path)


def read_owner(path: Path) -> LockOwner | None:
    """Return the owner named in a lock file, `UNREADABLE` if it names none; None: no file."""
    for pause_s in (0.1, 0.0):
        try:
            # NFS asks the server whenever a file is opened.
            return _OWNER_ADAPTER.validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            time.sleep(pause_s)  # without hard links a lock may be read while it is written
    return UNREADABLE


def this_process(interval_s: float) -> LockOwner:
    """Return the calling process as an owner with a new token."""
    try:
        pid_namespace = str(_PID_NAMESPACE.readlink())
    except OSError:
        pid_namespace = ""
    process = psutil.Process()
    return LockOwner(
        host=socket.gethostname(),
        boot=_boot_id(),
        pid_namespace=pid_namespace,
        process=process.pid,
        process_started=_start_time(process),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid4().hex,
        interval_s=interval_s,
    )


def _acquire(path: Path, mine: LockOwner) -> None:
    """Write our name into the lock file, if it does not exist or names a dead process.

    Raises:
        RunError: it names a living process.
    """
    while not _create(path, mine):
        found = read_owner(path)
        if found is None:
            continue  # released in this moment
        if _is_alive(found, path):
            raise RunError(
                f"run {path.parent}: another process is writing it: {found}; wait until it ends, or"
                f" stop it first (kill {found.process} on {found.host})"
            )
        _take_over(path, found, mine)


def _take_over(path: Path, dead: LockOwner, mine: LockOwner) -> None:
    """Replace the lock of a dead process, unless another process did it first.

    Several processes may find the owner dead, and the slowest must not replace the new lock of the
    fastest. So a process must first own a second lock, a file named after the dead owner's token.
    If that one's owner was killed, it is taken over in the same way.
    """
    permission = path.with_name(f"{path.name}.{dead.token}")
    _acquire(permission, mine)
    found = read_owner(path)
    if found is None or found.token != dead.token:
        permission.unlink(missing_ok=True)
        return
    # NFS repeats a rename whose reply was lost; `_acquire` checks the result.
    with suppress(FileNotFoundError):
        permission.replace(path)
    if path.name == _NAME:
        what = "a lock that cannot be read" if dead == UNREADABLE else f"the lock of dead {dead}"
        logger.warning("run %s: took over %s", path.parent, what)


def _create(path: Path, mine: LockOwner) -> bool:
    """Create the lock file atomically; return whether it names us, now or from before."""
    temporary = path.with_name(f"{_NAME}.{uuid4().hex}")
    try:
        _write(temporary, mine)
        # `path` may be our own file, since NFS repeats a link whose reply was lost. `temporary` may
        # have been removed as a leftover by a faster process.
        with suppress(FileExistsError, FileNotFoundError):
            _link(temporary, path, mine)
        found = read_owner(path)
        return found is not None and found.token == mine.token
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path, mine: LockOwner) -> None:
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _write(path, mine)  # FAT and some shared folders; `read_owner` reads a second time


def _write(path: Path, owner: LockOwner) -> None:
    with path.open("xb") as file:
        file.write(owner.as_bytes())
        file.flush()
        os.fsync(file.fileno())


def _remove_leftovers(directory: Path, mine: LockOwner) -> None:
    """Remove what killed processes left beside the lock, which we own now."""
    for path in directory.glob(f"{_NAME}.*"):
        # The file named after our token belongs to a process that takes us for dead.
        if path.name != f"{_NAME}.{mine.token}":
            path.unlink(missing_ok=True)


def _send_heartbeats(path: Path, mine: LockOwner, stop: threading.Event) -> None:
    count = 0
    while not stop.wait(mine.interval_s):
        count += 1
        with suppress(OSError):  # the next heartbeat may succeed
            if not write_heartbeat(path, mine, count):
                logger.warning(
                    "run %s: its lock is no longer ours; another process may be writing it, so stop"
                    " this one",
                    path.parent,
                )
                return


def write_heartbeat(path: Path, mine: LockOwner, count: int) -> bool:
    """Write a heartbeat into the lock file; return False, and write nothing, if it is not ours."""
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return False
    with file:
        try:
            found = _OWNER_ADAPTER.validate_json(file.read())
        except ValidationError:
            return False
        if found.token != mine.token:
            return False
        # Overwriting the content needs no new block, so it works on a full disk. This is the file
        # that was just read, so a lock that is taken over in this moment stays untouched.
        file.seek(0)
        file.write(replace(mine, heartbeat=count).as_bytes())
    return True


def _release(path: Path, mine: LockOwner) -> None:
    if mine.process != os.getpid():
        return  # a forked child leaves the block: its parent keeps the lock
    with suppress(OSError):  # a lock that stays is dead with this process
        found = read_owner(path)
        if found is not None and found.token == mine.token:
            path.unlink(missing_ok=True)


def _is_alive(owner: LockOwner, path: Path) -> bool:
    """Return whether the owner lives; wait for up to three heartbeats of another machine."""
    if owner == UNREADABLE:
        return False
    if _is_here(owner):
        return _runs(owner)
    # Most likely this machine was rebooted. But two machines may have one name, so that an owner
    # with a recent heartbeat is not taken for dead.
    is_earlier_boot = owner.host == socket.gethostname() and owner.boot != _boot_id()
    if is_earlier_boot and not _has_recent_heartbeat(path):
        return False
    return _sends_heartbeats(owner, path)


def _is_here(owner: LockOwner) -> bool:
    """Return whether the owner's process id counts on this machine, in this container."""
    here = this_process(1.0)
    return (owner.host, owner.boot, owner.pid_namespace) == (
        here.host,
        here.boot,
        here.pid_namespace,
    )


def _runs(owner: LockOwner) -> bool:
    """Return whether the owner runs on this machine; a stopped process (SIGSTOP) counts."""
    try:
        process = psutil.Process(owner.process)
        if abs(_start_time(process) - owner.process_started) > _START_TOLERANCE_S:
            return False  # the process id was reused
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # the process of another user


def _sends_heartbeats(owner: LockOwner, path: Path) -> bool:
    seconds = _HEARTBEATS_AWAITED * owner.interval_s
    logger.warning(
        "run %s: waiting up to %.1f s for a heartbeat of %s", path.parent, seconds, owner
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(owner.interval_s / 4)
        found = read_owner(path)
        if found is None or found.token != owner.token:
            return False  # released, or taken over by another process
        if found.heartbeat != owner.heartbeat:
            return True
    return False


def _has_recent_heartbeat(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < _RECENT_S
    except FileNotFoundError:
        return False


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def _start_time(process: psutil.Process) -> float:
    """Return when a process started, by a measure that does not change when the clock is set."""
    # On Linux psutil adds the boot time, which moves with the clock; on other systems it does not.
    added = psutil.boot_time() if _BOOT_ID.exists() else 0.0
    return round(float(process.create_time() - added), 2)
