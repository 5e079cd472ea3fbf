"""Memory, processor time, processes and files of a running search, measured from outside."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from results.run import Run
from results.trial_states import Status

_INTERVAL_S = 0.25
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A search at one moment."""

    trials: int
    """That have ended."""
    seconds: float
    driver_mib: float
    """Memory in use."""
    workers_mib: tuple[float, ...]
    """Of each process that runs trials."""
    processes: int
    """Of the search and its Ray."""
    run_kib: float
    """Files of the run, without Ray's own state."""
    ray_kib: float
    """Ray's own state of the trials, which the search removes."""


def take_snapshots(
    driver: psutil.Process, run: Path, marks: Sequence[int]
) -> tuple[list[Snapshot], int, list[psutil.Process]]:
    """Monitor a search until it ends.

    Args:
        driver: its process.
        run: the run's directory.
        marks: numbers of ended trials at which to take a snapshot, ascending.

    Returns:
        The snapshots, the most bytes on disk, and every process that the search started.
    """
    snapshots: list[Snapshot] = []
    peak, started, family = 0, time.monotonic(), {driver}
    while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
        try:
            children = driver.children(recursive=True)
            family.update(children)
            peak = max(peak, size(run))
            ended = sum(row["status"] != Status.RUNNING for row in Run(run).read_trials())
            if len(snapshots) < len(marks) and ended >= marks[len(snapshots)]:
                seconds = time.monotonic() - started
                snapshots.append(_take_snapshot(driver, children, run, ended, seconds))
        except psutil.NoSuchProcess:
            continue  # the process ended while it was measured
        time.sleep(_INTERVAL_S)
    return snapshots, peak, list(family - {driver})


def _take_snapshot(
    driver: psutil.Process,
    children: Sequence[psutil.Process],
    run: Path,
    ended: int,
    seconds: float,
) -> Snapshot:
    workers = [child for child in children if "ImplicitFunc" in " ".join(child.cmdline())]
    return Snapshot(
        trials=ended,
        seconds=round(seconds, 1),
        driver_mib=_memory_mib(driver),
        workers_mib=tuple(sorted(_memory_mib(worker) for worker in workers)),
        processes=1 + len(children),
        run_kib=round((size(run) - size(run / ".ray")) / 1024, 1),
        ray_kib=round(size(run / ".ray") / 1024, 1),
    )


def _memory_mib(process: psutil.Process) -> float:
    return round(float(process.memory_info().rss) / MIB, 1)


def size(directory: Path) -> int:
    """Return the bytes of all files in a directory."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def seconds_a_trial(snapshots: Sequence[Snapshot]) -> float | None:
    """Return the seconds a trial from the first snapshot to the last; None: there is only one.

    The start of the search is before the first snapshot and does not count.
    """
    if len(snapshots) < 2:
        return None
    first, last = snapshots[0], snapshots[-1]
    return round((last.seconds - first.seconds) / (last.trials - first.trials), 3)


@dataclass(kw_only=True)
class ProcessMonitor:
    """Measures a process and its descendants in a thread during a `with` block."""

    process: int
    """Its number."""
    driver_mib: float = field(default=0.0, init=False)
    """Most memory in use by the process itself."""
    worker_mib: float = field(default=0.0, init=False)
    """Most memory in use by any one process of Ray that runs trials."""
    _used: list[tuple[float, float]] = field(default_factory=list, init=False)
    """Seconds since 1970, and seconds of a core that the process had used by then."""
    _has_ended: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        """Start to measure."""
        self._thread = threading.Thread(target=self._measure, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the measurement."""
        self._has_ended.set()
        self._thread.join()

    def cores(self, since: float, until: float) -> float | None:
        """Return the cores that the process itself used on average; None: not measured.

        Args:
            since: seconds since 1970.
            until: seconds since 1970.
        """
        measured = [(at, used) for at, used in self._used if since <= at <= until]
        if len(measured) < 2:
            return None
        (first, before), (last, after) = measured[0], measured[-1]
        return (after - before) / (last - first)

    def _measure(self) -> None:
        driver = psutil.Process(self.process)
        while not self._has_ended.wait(_INTERVAL_S):
            try:
                times = driver.cpu_times()
                self._used.append((time.time(), times.user + times.system))
                self.driver_mib = max(self.driver_mib, driver.memory_info().rss / MIB)
                for child in driver.children(recursive=True):
                    self._measure_worker(child)
            except psutil.NoSuchProcess:
                continue

    def _measure_worker(self, child: psutil.Process) -> None:
        try:
            if "ray::Impl" in " ".join(child.cmdline()):
                self.worker_mib = max(self.worker_mib, child.memory_info().rss / MIB)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
