"""A search that is looked at from outside: its processes and files as trials end."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from results.run import Run
from results.trial_states import Status

_SECONDS_BETWEEN_LOOKS = 0.25
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Look:
    """A search at one moment."""

    trials: int
    """That have ended."""
    seconds: float
    driver_mib: float
    """Resident set."""
    workers_mib: tuple[float, ...]
    """Resident set of each process that trials run in."""
    processes: int
    """Of the search and its Ray."""
    run_kib: float
    """Files of the run, without Ray's own state."""
    ray_kib: float
    """Ray's own state of the trials, which the search removes."""


def watch(
    driver: psutil.Process, run: Path, marks: Sequence[int]
) -> tuple[list[Look], int, list[psutil.Process]]:
    """Look at a search until it ends.

    Args:
        driver: its process.
        run: the run's directory.
        marks: numbers of ended trials at which to look, ascending.

    Returns:
        The looks at the marks, most bytes on disk, and every process that was seen.
    """
    looks: list[Look] = []
    peak, began, family = 0, time.monotonic(), {driver}
    while driver.is_running() and driver.status() != psutil.STATUS_ZOMBIE:
        try:
            children = driver.children(recursive=True)
            family.update(children)
            peak = max(peak, size(run))
            ended = sum(row["status"] != Status.RUNNING for row in Run(run).read_trials())
            if len(looks) < len(marks) and ended >= marks[len(looks)]:
                looks.append(_look(driver, children, run, ended, time.monotonic() - began))
        except psutil.NoSuchProcess:
            continue  # it ended while it was looked at
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return looks, peak, list(family - {driver})


def _look(
    driver: psutil.Process,
    children: Sequence[psutil.Process],
    run: Path,
    ended: int,
    seconds: float,
) -> Look:
    workers = [child for child in children if "ImplicitFunc" in " ".join(child.cmdline())]
    return Look(
        trials=ended,
        seconds=round(seconds, 1),
        driver_mib=_resident(driver),
        workers_mib=tuple(sorted(_resident(worker) for worker in workers)),
        processes=1 + len(children),
        run_kib=round((size(run) - size(run / ".ray")) / 1024, 1),
        ray_kib=round(size(run / ".ray") / 1024, 1),
    )


def _resident(process: psutil.Process) -> float:
    return round(float(process.memory_info().rss) / MIB, 1)


def size(directory: Path) -> int:
    """Bytes of all files in a directory."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += (Path(folder) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def pace(looks: Sequence[Look]) -> float | None:
    """Seconds a trial from the first look to the last, so without the start."""
    if len(looks) < 2:
        return None
    first, last = looks[0], looks[-1]
    return round((last.seconds - first.seconds) / (last.trials - first.trials), 3)
