"""Who holds a lock: told from any other process, and whether it still lives."""

import json
import logging
import socket
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import psutil
from pydantic import Field, TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_BEATS_WATCHED = 3
_LATELY_S = 60.0
_SAME_START_S = 0.5  # far above rounding, far below the time in which a pid comes round again
_COUNTER_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Holder:
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


_HOLDER = TypeAdapter(Holder)

UNREADABLE = Holder(
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


def this_process(interval_s: float) -> Holder:
    """The calling process, with a token of its own."""
    try:
        pid_namespace = str(_PID_NAMESPACE.readlink())
    except OSError:
        pid_namespace = ""
    process = psutil.Process()
    return Holder(
        host=socket.gethostname(),
        boot=_boot(),
        pid_namespace=pid_namespace,
        process=process.pid,
        process_started=_started(process),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        token=uuid4().hex,
        interval_s=interval_s,
    )


def read_holder(path: Path) -> Holder | None:
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


def is_alive(holder: Holder, path: Path) -> bool:
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


def seems_alive(holder: Holder, path: Path) -> bool:
    """The same at once: of another machine, whether it beat in the last 60 seconds.

    That compares the clocks of this machine and of the file server: good enough to tell a user,
    not to take a lock over.
    """
    if holder == UNREADABLE:
        return False
    if _same_machine(holder, this_process(1.0)):
        return _runs(holder)
    return _beat_lately(path)


def _same_machine(one: Holder, other: Holder) -> bool:
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


def _runs(holder: Holder) -> bool:
    try:
        process = psutil.Process(holder.process)
        if abs(_started(process) - holder.process_started) > _SAME_START_S:
            return False  # the number was given to another process
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True  # another user's, of which /proc tells nothing more


def _beats(holder: Holder, path: Path) -> bool:
    seconds = _BEATS_WATCHED * holder.interval_s
    logger.warning(
        "run %s: waiting up to %.1f s for a sign of life of %s", path.parent, seconds, holder
    )
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(holder.interval_s / 4)
        found = read_holder(path)
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


def bump(path: Path, holder: Holder, heartbeat: int) -> bool:
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
