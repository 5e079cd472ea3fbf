"""Interrupt searches, resume them, and compare them with one that was not interrupted."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
import psutil

from tests.tuning.searching import IN_TURN, Run, Started, search

COLUMNS = ["status", "source", "learning_rate", "batch_size", "f1_macro", "examples"]
"""Columns of `trials.csv` that an interruption must not change."""


SHORT = [*IN_TURN, "--trials", "2", "--search.confirm_replicates", "0"]
"""Two full trials, one after the other."""

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True, kw_only=True)
class Unbroken:
    """A search without any interruption."""

    run: Run
    seconds: float


def wait_until(condition: Callable[[], bool], started: Started, seconds: float = 400) -> None:
    """Wait for the moment of the interruption."""
    deadline = time.monotonic() + seconds
    while not condition():
        if started.process.poll() is not None:
            raise AssertionError(f"it ended before the moment came: {started.ended()}")
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.001)


def rows(run: Run) -> list[str]:
    """Return the evaluations on disk; the last line may be incomplete."""
    path = run.directory / "curves.csv"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def num_evaluations(run: Run, trial_id: str) -> int:
    """Return the number of evaluations of a trial on disk."""
    return sum(row.startswith(f"{trial_id},") for row in rows(run))


def kill_driver(started: Started) -> None:
    """Kill only the driver by SIGKILL, as the kernel does when memory runs out."""
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.communicate()


def workers(started: Started) -> list[psutil.Process]:
    """Return the processes that run trials."""
    tree = psutil.Process(started.process.pid).children(recursive=True)
    return [one for one in tree if "ImplicitFunc" in " ".join(one.cmdline())]


def no_process_is_left(started: Started, *, seconds: float = 40) -> bool:
    """Return whether all processes of a search end in that time, except two of a killed Ray.

    These wait for an answer of a dead process for a minute, which is fixed in Ray. A worker that
    was just starting retries its connection for a while.
    """
    deadline = time.monotonic() + seconds * slowness()
    while left := [line for line in started.processes() if not line.startswith(AGENTS)]:
        if time.monotonic() > deadline:
            print("left:", left)
            return False
        time.sleep(0.1)
    return True


def slowness() -> float:
    """Return how many times as long as on an idle machine a process takes, by the load."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def resume_run(run: Run, *arguments: str, options: Sequence[str] = SHORT) -> None:
    """Resume a run to its end; start it with `options` if it does not exist yet."""
    resume = ["--resume"] if run.directory.exists() else options
    ended, _ = search(run.directory.parent, run.directory.name, *resume, *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""


def assert_as_unbroken(run: Run, unbroken: Unbroken, known: Sequence[str] = ()) -> None:
    """Check: completed, no known evaluation lost or written twice, the same trials and winner."""
    assert run.record["status"] == "completed"
    assert rows(run)[: len(known)] == list(known)
    assert not run.curves.duplicated(["trial_id", "examples"]).any()
    whole = unbroken.run
    pd.testing.assert_frame_equal(run.trials[COLUMNS], whole.trials[COLUMNS])
    pd.testing.assert_frame_equal(*(one.curves.drop(columns="seconds") for one in (run, whole)))
    assert run.record["best"] == whole.record["best"]
    hidden = {path.name for path in run.directory.iterdir() if path.name.startswith(".")}
    assert hidden <= {".lock"}
