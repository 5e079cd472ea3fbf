"""Other processes that own a run's lock, and locks that dead processes left."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from results.lock import LockOwner, acquire, read_owner, this_process

# Each line of stdin is a directory: acquire its lock, or print the error; release at the next line.
STARTER = """
import socket, sys
from pathlib import Path
from results.errors import RunError
from results.lock import acquire

host, interval_s = sys.argv[1:]
if host:
    socket.gethostname = lambda: host  # a fake: there is one machine here
print("ready", flush=True)
while line := sys.stdin.readline():
    try:
        with acquire(Path(line.strip()), interval_s=float(interval_s)):
            print("acquired", flush=True)
            sys.stdin.readline()
        print("released", flush=True)
    except RunError as error:
        print(error, flush=True)
"""
LONG_AGO = (1_000_000_000, 1_000_000_000)
"""Access and modification, seconds since 1970."""


@dataclass(frozen=True)
class Starter:
    """Another process, which acquires and releases locks on request."""

    process: "subprocess.Popen[str]"

    def send(self, line: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def acquire(self, directory: Path) -> str:
        self.send(directory)
        return self.answer()

    def release(self) -> None:
        self.send("release")
        assert self.answer() == "released"

    def kill(self, *, reap: bool = True) -> None:
        self.process.kill()
        if reap:
            self.process.wait()
        else:
            wait_until(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_ZOMBIE)


Start = Callable[..., Starter]


def start_one(host: str, interval_s: float) -> Starter:
    command = [sys.executable, "-c", STARTER, host, str(interval_s)]
    started = Starter(
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    )
    assert started.answer() == "ready"
    return started


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def owner_of(directory: Path) -> LockOwner:
    found = read_owner(directory / ".lock")
    assert found is not None
    return found


def leave_lock(
    directory: Path, left: LockOwner | bytes, *, at: tuple[int, int] | None = None
) -> None:
    path = directory / ".lock"
    path.write_bytes(left if isinstance(left, bytes) else left.as_bytes())
    if at is not None:
        os.utime(path, at)


def dead() -> LockOwner:
    """This process id with another start time: the id was reused."""
    return replace(this_process(5.0), process_started=1.0)


def assert_acquired_at_once(directory: Path) -> None:
    started = time.monotonic()
    with acquire(directory):
        assert time.monotonic() - started < 2  # does not wait for a heartbeat of 5 s
        assert owner_of(directory).process == os.getpid()
