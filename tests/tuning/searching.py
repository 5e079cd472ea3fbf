"""Run searches in this process or another, wait for their trials and read their files."""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from cluster.addresses import ClusterError
from results.errors import RunError, StorageError
from results.log import PACKAGES, preserve_logging
from training.cli import run_command
from tuning.search import main

ROOT = Path(__file__).parents[2]
# Under the median the first two trials always reach the end, so there is one to confirm.
IN_TURN = [
    *("--config", "ci", "--trials", "4", "--search.max_concurrent", "1", "--search.seed", "2"),
    *("--training.epochs", "2", "--training.learning_rate", "1e-3", "--training.batch_size", "16"),
    *("--search.scheduler", "median", "--search.grace_epochs", "1"),
    *("--search.space", "{learning_rate: {log_uniform: [1e-3, 4e-3]}, batch_size: {choice: [8]}}"),
    *("--search.evaluations_per_epoch", "4"),
]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The files of a run, read again at each access."""

    directory: Path

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "search.json").read_text())
        return found

    @property
    def trials(self) -> pd.DataFrame:
        return pd.read_csv(self.directory / "trials.csv", index_col="trial_id")

    @property
    def curves(self) -> pd.DataFrame:
        return pd.read_csv(self.directory / "curves.csv")

    def rows(self, *sources: str) -> pd.DataFrame:
        return self.trials[self.trials["source"].isin(sources)]


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> Ended:
    """Run the search command in this process; loggers are restored."""
    monkeypatch.setattr(sys, "argv", ["search", *arguments])
    with preserve_logging(PACKAGES):
        code = run_command(main, bad_input=(RunError,), environment=(ClusterError, StorageError))
    printed = capsys.readouterr()
    return Ended(code=code, out=printed.out, err=printed.err)


def command(directory: Path, name: str, *arguments: str) -> list[str]:
    output = ["--output.directory", str(directory), "--name", name]
    return [sys.executable, "-m", "tuning.search", *arguments, *output]


def search(
    directory: Path, name: str, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], Run]:
    ended = subprocess.run(
        command(directory, name, *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    return ended, Run(directory=directory / name)


Whole = tuple[subprocess.CompletedProcess[str], Run]


@dataclass
class Started:
    """A search that runs in a process session of its own."""

    process: subprocess.Popen[str]

    def wait_for(self, pattern: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if re.match(pattern, line):
                return
        raise AssertionError(f"the search ended without a line {pattern!r}")

    def wait_until_started(self, run: Run, trial_id: str) -> None:
        """Wait for the line of the run's log with the start of a trial."""
        log, deadline = run.directory / "logs" / "search.log", time.monotonic() + 400
        while not (log.exists() and f": trial {trial_id} started: " in log.read_text()):
            assert self.process.poll() is None, f"it ended before that: {self.ended()}"
            assert time.monotonic() < deadline, f"{trial_id} never started"
            time.sleep(0.05)

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=1000)
        return self.process.returncode, out, err

    def processes(self) -> list[str]:
        """Return the command lines of the processes that still run in its session."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                session = (path / "stat").read_text().rpartition(") ")[2].split()[3]
                line = (path / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if session == str(self.process.pid) and line:
                found.append(line)
        return found


def start(directory: Path, name: str, *arguments: str) -> Started:
    return Started(
        subprocess.Popen(
            command(directory, name, *arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    )
