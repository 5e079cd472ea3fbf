"""Load one run into pandas (`load_run("results/runs/first").trials`), or several (`load_runs`)."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from results.errors import RunError
from results.older_runs import with_tested_score
from results.parameter_values import is_numeric, read_value
from results.recommendation import recommend
from results.run import TEST_REPORT, Run, open_run
from results.summary import Summary, summarize

_TEXTS = ("trial_id", "status", "source", "error", "stopped_by")

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A run, finished or not, at the moment when it was read; a notebook displays a table."""

    directory: Path
    record: dict[str, Any]
    """Content of `search.json`."""
    trials: pd.DataFrame
    """`trials.csv`, a row per trial: numbers are parsed, an empty cell is NaN; a parameter that
    words were searched for has words, true, false and None."""
    curves: pd.DataFrame
    """`curves.csv`, a row per evaluation in order of time."""
    test: dict[str, Any] | None
    """Content of the last `evaluation_report.json`; None before the evaluation on the test set."""

    def __repr__(self) -> str:
        """Return a summary in lines."""
        return self._summary().as_text()

    def _repr_html_(self) -> str:
        return self._summary().as_html()

    def _summary(self) -> Summary:
        return summarize("LoadedRun", Run(self.directory), self.record, self.test)


@dataclass(frozen=True, kw_only=True)
class LoadedRuns:
    """Several runs; the first column of each table is `run`, the name of the run's directory."""

    runs: Sequence[LoadedRun]
    trials: pd.DataFrame
    curves: pd.DataFrame

    def __repr__(self) -> str:
        """Return the verdict on each run in a line."""
        return self._summary().as_text()

    def _repr_html_(self) -> str:
        return self._summary().as_html()

    def _summary(self) -> Summary:
        verdicts = (recommend(Run(run.directory), run.record, run.test) for run in self.runs)
        rows = [
            (run.directory.name, f"{verdict.sign} {verdict.sentence}")
            for run, verdict in zip(self.runs, verdicts, strict=True)
        ]
        return Summary(title=f"LoadedRuns ({len(rows)})", rows=rows)


def load_run(directory: AnyPath) -> LoadedRun:
    """Load a run without changing its directory; its search may still be running.

    Raises:
        RunError: there is no run, or one of its files cannot be read.
    """
    run = open_run(Path(directory))
    reports, record = run.newest_reports(), run.read_whole_record()
    return LoadedRun(
        directory=run.directory,
        record=record,
        trials=_typed(run.read_trials(), (record.get("search") or {}).get("space") or {}),
        curves=_typed(run.read_complete_curves()),
        test=_read_test(reports / TEST_REPORT) if reports else None,
    )


def load_runs(*directories: AnyPath) -> LoadedRuns:
    """Load several runs to compare them.

    Raises:
        RunError: as `load_run`; or two directories have the same name.
    """
    runs = [load_run(directory) for directory in directories]
    names = [run.directory.name for run in runs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise RunError(
            f"two of the runs are named {repeated[0]!r}, but their names must differ; rename a"
            " directory, or load them one by one"
        )
    return LoadedRuns(
        runs=runs,
        trials=_concatenate({run.directory.name: run.trials for run in runs}),
        curves=_concatenate({run.directory.name: run.curves for run in runs}),
    )


def _typed(
    rows: Iterable[Mapping[str, str]], space: Mapping[str, Mapping[str, Any]] | None = None
) -> pd.DataFrame:
    """Return a table with texts as they are, booleans, and all other columns as numbers.

    Args:
        rows: cells as text.
        space: of the record; a parameter that is no number has a column of words, true and false.
    """
    table = pd.DataFrame(list(rows))
    for name, domain in (space or {}).items():
        if name in table and not is_numeric(domain):
            table[name] = pd.Series(
                [read_value(cell, domain) for cell in table[name]], dtype=object
            )
    for name in table.columns.difference(list(_TEXTS)):
        if name == "collapsed":
            table[name] = table[name] == "True"
        elif is_numeric((space or {}).get(name, {})):
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _concatenate(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    named = [table.assign(run=name) for name, table in tables.items()]
    table = pd.concat(named, ignore_index=True) if named else pd.DataFrame({"run": []})
    return table[["run", *table.columns.drop("run")]]


def _read_test(path: Path) -> dict[str, Any]:
    try:
        return with_tested_score(dict(json.loads(path.read_text("utf-8"))))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); restore the file") from error
