"""Runs read into pandas: `load_run("results/runs/first").trials`, `load_runs(...)` for several."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from results.errors import RunError
from results.older_runs import with_tested_score
from results.run import TEST_REPORT, open_run

_TEXTS = ("trial_id", "status", "source", "error", "stopped_by")

Place = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run as it was when it was read, finished or not."""

    directory: Path
    record: dict[str, Any]
    """Content of `search.json`."""
    trials: pd.DataFrame
    """A row a trial, as `trials.csv`: numbers as numbers, NaN for an empty cell."""
    curves: pd.DataFrame
    """A row an evaluation, in the order in which they came, as `curves.csv`."""
    test: dict[str, Any] | None
    """Content of the last `evaluation_report.json`; None before the test is opened."""


@dataclass(frozen=True, kw_only=True)
class LoadedRuns:
    """Several runs; each table begins with a column `run`, the name of the run's directory."""

    runs: Sequence[LoadedRun]
    trials: pd.DataFrame
    curves: pd.DataFrame


def load_run(directory: Place) -> LoadedRun:
    """Read a run; nothing in its directory changes, so that it may be a running one's.

    Raises:
        RunError: there is no run, or a file of it cannot be read.
    """
    run = open_run(Path(directory))
    reports = run.newest_reports()
    return LoadedRun(
        directory=run.directory,
        record=run.read_whole_record(),
        trials=_typed(run.read_trials()),
        curves=_typed(run.read_complete_curves()),
        test=_read_test(reports / TEST_REPORT) if reports else None,
    )


def load_runs(*directories: Place) -> LoadedRuns:
    """Read several runs, to compare.

    Raises:
        RunError: as `load_run`; or two directories have one name.
    """
    runs = [load_run(directory) for directory in directories]
    names = [run.directory.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RunError(
            f"two of the runs are named {twice[0]!r}, but each must have a name of its own; rename"
            " a directory, or load them one by one"
        )
    return LoadedRuns(
        runs=runs,
        trials=_together({run.directory.name: run.trials for run in runs}),
        curves=_together({run.directory.name: run.curves for run in runs}),
    )


def _typed(rows: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Texts as texts, truth values as such, all else as numbers."""
    table = pd.DataFrame(list(rows))
    for name in table.columns.difference(list(_TEXTS)):
        if name == "collapsed":
            table[name] = table[name] == "True"
        else:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    named = [table.assign(run=name) for name, table in tables.items()]
    whole = pd.concat(named, ignore_index=True) if named else pd.DataFrame({"run": []})
    return whole[["run", *whole.columns.drop("run")]]


def _read_test(path: Path) -> dict[str, Any]:
    try:
        return with_tested_score(dict(json.loads(path.read_text("utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore the file") from error
