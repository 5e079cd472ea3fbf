"""The files of one run: their paths and columns, and how they are read and written."""

import errno
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from results import lock
from results.errors import RunError
from results.files import (
    append_row,
    drop_incomplete_line,
    read_table,
    write_csv,
    write_json,
    write_text,
)
from results.older_runs import problem_of_record, with_objective, with_score
from results.trial_states import SearchStatus

SCHEMA_VERSION = 1
TEST_REPORT = "evaluation_report.json"
BASELINE = "baseline"
"""Directory of the shipped baseline, beside that of the model."""
MODEL_CHECK_PREFIX = ".tried-"
"""Prefix of the directory in which a search checks that a small model can be exported."""

CURVE_COLUMNS = (
    *("trial_id", "examples", "epoch", "seconds", "train_loss", "eval_loss", "score"),
    *("f1_macro", "accuracy", "learning_rate", "collapsed"),
)
WORKER_COLUMNS = (*("trial_id", "at", "node", "address", "node_id", "process", "actor_id", "gpu"),)
_BEFORE_PARAMETERS = ("trial_id", "status", "source")
_AFTER_PARAMETERS = (
    *("score", "f1_macro", "accuracy", "peak_f1_macro", "examples", "epochs", "seconds"),
    *("error", "stopped_by", "replicate", "seed", "split_seed", "fixed_rows_loss"),
)
FIXED_COLUMNS = frozenset((*_BEFORE_PARAMETERS, *_AFTER_PARAMETERS))
"""Columns of `trials.csv` other than the searched parameters."""
_ADDED = {"score"}
"""Columns that runs of older versions lack."""


@dataclass(frozen=True)
class Run:
    """The directory of a run, with methods that read and write its files."""

    directory: Path

    @property
    def config(self) -> Path:
        """The resolved configuration, YAML."""
        return self.directory / "config.yaml"

    @property
    def best(self) -> Path:
        """The winner: sections data, model and training, YAML."""
        return self.directory / "best.yaml"

    @property
    def record(self) -> Path:
        """The record of the search, JSON."""
        return self.directory / "search.json"

    @property
    def data(self) -> Path:
        """The table that a search from Python was given in memory, Parquet; else missing."""
        return self.directory / "data.parquet"

    @property
    def trials(self) -> Path:
        """The trials, one per row, CSV."""
        return self.directory / "trials.csv"

    @property
    def changes(self) -> Path:
        """Rows that are newer than `trials.csv`, CSV; missing if there are none.

        Hidden, and so not mirrored: a mirrored `trials.csv` is newer than a mirrored copy would be.
        """
        return self.directory / ".changes.csv"

    @property
    def curves(self) -> Path:
        """The evaluations, one per row, CSV."""
        return self.directory / "curves.csv"

    @property
    def workers(self) -> Path:
        """A row for each time that a trial was started or resumed in a process, CSV."""
        return self.directory / "workers.csv"

    @property
    def splits(self) -> Path:
        """The part of each input row (train, validation, test, dropped), CSV."""
        return self.directory / "splits.csv"

    @property
    def split_texts(self) -> Path:
        """Hashes of the texts on each side of the split, for runs that start from this one."""
        return self.directory / "split_texts.bin"

    @property
    def warm_start(self) -> Path:
        """The configurations of earlier runs that are tried first, JSON; missing without any."""
        return self.directory / "warm_start.json"

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.directory / "report.html"

    @property
    def test_openings(self) -> Path:
        """Every access to the test rows, also by runs that this one starts from; JSON.

        Missing before the first.
        """
        return self.directory / "test_openings.json"

    @property
    def tokenizer(self) -> Path:
        """Directory of the tokenizer that the search trained; only for the model `tiny`."""
        return self.directory / "tokenizer"

    @property
    def log(self) -> Path:
        """Log of the search, with times."""
        return self.directory / "logs" / "search.log"

    @property
    def tensorboard(self) -> Path:
        """Event files, a directory per trial."""
        return self.directory / "logs" / "tensorboard"

    @property
    def scratch(self) -> Path:
        """Ray's own state while the search runs; removed at the end."""
        return self.directory / ".ray"

    def newest_reports(self) -> Path | None:
        """Return the directory of the last complete evaluation on the test set; None before."""
        found = [path.parent for path in self.directory.glob(f"final*/reports/{TEST_REPORT}")]
        return max(found, key=lambda path: _number_of(path.parent.name), default=None)

    def with_own_data(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of a YAML file of the run with the present path of the run's own data.

        A run that was moved, or fetched from a storage, has its `data.parquet` at another path than
        its files record.
        """
        section = values.get("data")
        if not (isinstance(section, dict) and isinstance(path := section.get("path"), str)):
            return dict(values)
        has_own = self.data.is_file() and self.splits.is_file()  # only a run has both
        if not has_own or Path(path).name != self.data.name:
            return dict(values)
        return {**values, "data": {**section, "path": os.fspath(self.data.absolute())}}

    def write_trials(self, parameters: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Replace `trials.csv`; `parameters` are the searched fields."""
        write_csv(self.trials, (*_BEFORE_PARAMETERS, *parameters, *_AFTER_PARAMETERS), rows)
        self.changes.unlink(missing_ok=True)

    def append_trial(self, parameters: Sequence[str], row: Mapping[str, Any]) -> None:
        """Append the row of a trial that has started or ended to the changes since `trials.csv`.

        `trials.csv` itself is replaced as a whole, which takes too long for each of thousands.
        """
        columns = (*_BEFORE_PARAMETERS, *parameters, *_AFTER_PARAMETERS)
        append_row(self.changes, columns, row)

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Append one line to `curves.csv`."""
        append_row(self.curves, CURVE_COLUMNS, row)

    def append_worker(self, row: Mapping[str, Any]) -> None:
        """Append one line to `workers.csv`."""
        append_row(self.workers, WORKER_COLUMNS, row)

    def read_workers(self) -> list[dict[str, str]]:
        """Return the rows of `workers.csv`, cells as text; none for runs without the file."""
        return read_table(self.workers, WORKER_COLUMNS)

    def read_trials(self) -> list[dict[str, str]]:
        """Return the rows of `trials.csv` with all later changes, cells as text."""
        required = _without_added((*_BEFORE_PARAMETERS, *_AFTER_PARAMETERS))
        newer = {
            row["trial_id"]: row for row in read_table(self.changes, required) if _is_complete(row)
        }
        rows = [newer.pop(row["trial_id"], row) for row in read_table(self.trials, required)]
        return [with_score(row) for row in (*rows, *newer.values())]

    def read_curves(self) -> list[dict[str, str]]:
        """Return the rows of `curves.csv`, cells as text; first remove an incomplete last line."""
        drop_incomplete_line(self.curves)
        return self._curve_rows()

    def keep_curves_of(self, trials: Collection[str]) -> None:
        """Drop the evaluations of other trials, whose rows were not mirrored in time.

        The next trial of that number would seem to continue them. A file of an older version gets
        the current columns, because later evaluations are appended.
        """
        rows = self.read_curves()
        kept = [row for row in rows if row["trial_id"] in trials]
        is_older = any(list(row)[-1] == "score" for row in rows[:1])  # `with_score` added it
        is_older |= not rows and self.curves.exists()  # its header may be of an older version
        if len(kept) < len(rows) or is_older:
            write_csv(self.curves, CURVE_COLUMNS, kept)

    def read_complete_curves(self) -> list[dict[str, str]]:
        """Return the complete rows of `curves.csv` without changing the file.

        The search may be writing it: an incomplete last line is left out.
        """
        rows = self._curve_rows()
        return [row for row in rows if row["collapsed"] in ("True", "False")]

    def _curve_rows(self) -> list[dict[str, str]]:
        required = _without_added(CURVE_COLUMNS)
        return [with_score(row) for row in read_table(self.curves, required)]

    def read_test_accesses(self) -> list[dict[str, Any]]:
        """Return the content of `test_openings.json`, as `evaluation.test_lock` writes it.

        Raises:
            RunError: the file cannot be read.
        """
        if not self.test_openings.exists():
            return []
        try:
            return [dict(item) for item in json.loads(self.test_openings.read_text("utf-8"))]
        except (OSError, RecursionError, ValueError, TypeError) as error:
            raise RunError(
                f"{self.test_openings}: cannot be read ({error}), so it is unknown whether a model"
                " was evaluated on the test set; restore the file"
            ) from error

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replace `search.json`."""
        write_json(self.record, {"schema_version": SCHEMA_VERSION, **record})

    def read_record(self) -> dict[str, Any]:
        """Return the content of `search.json`.

        Raises:
            RunError: the file is missing, incomplete or of another version.
        """
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            next_step = "no search wrote it: give the directory that a search printed"
            if self.config.exists():
                next_step = f"rebuild it by {self._rebuild}"
            raise RunError(f"run {self.directory}: it has no search.json; {next_step}") from error
        except (ValueError, OSError, RecursionError) as error:
            raise RunError(
                f"run {self.directory}: search.json cannot be read ({error}); restore the file, or"
                f" rebuild it by {self._rebuild}"
            ) from error
        version = record.get("schema_version") if isinstance(record, dict) else None
        if version != SCHEMA_VERSION:
            raise RunError(
                f"run {self.directory}: search.json has schema_version {version!r}, but this"
                f" program reads {SCHEMA_VERSION}; use the version that wrote the run, or rebuild"
                f" it by {self._rebuild}"
            )
        return with_objective(record)

    def read_whole_record(self) -> dict[str, Any]:
        """Return the content of `search.json`, checked for all fields that readers need.

        Raises:
            RunError: as `read_record`, or a value is missing or has another type.
        """
        record = self.read_record()
        if problem := problem_of_record(record):
            raise RunError(
                f"run {self.directory}: search.json: {problem}; restore the file, or rebuild it by"
                f" {self._rebuild}"
            )
        return record

    @property
    def _rebuild(self) -> str:
        return shlex.join(
            ["python", "-m", "tuning.status", "--run", os.fspath(self.directory), "--rebuild"]
        )

    def write_config(self, text: str) -> None:
        """Replace `config.yaml`."""
        write_text(self.config, text)

    def write_splits(self, text: str) -> None:
        """Replace `splits.csv`."""
        write_text(self.splits, text)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other processes on any machine from writing this run during a `with` block.

        Raises:
            RunError: a living process is writing it.
        """
        return lock.acquire(self.directory)

    def remove_leftovers(self) -> None:
        """Remove the temporary files that a killed process left."""
        drop_incomplete_line(self.changes)
        for path in (self.config, self.best, self.record, self.trials, self.splits, self.report):
            for temporary in self.directory.glob(f".{path.name}.*"):
                temporary.unlink(missing_ok=True)
        for folder in self.directory.glob(f"{MODEL_CHECK_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def is_locked(self) -> bool:
        """Return whether a process is writing this run, on another machine in the last 60 s."""
        return lock.is_locked(self.directory)


def open_run(path: Path) -> Run:
    """Return the run in a directory.

    Raises:
        RunError: there is no such directory.
    """
    if not path.is_dir():
        raise RunError(f"run {path}: no such directory; give the directory that a search printed")
    return Run(path.absolute())


def newest_unfinished(directory: Path) -> Run:
    """Return the run in `directory` that started last and is not completed.

    Raises:
        RunError: there is none.
    """
    found = []
    for path in directory.glob("*/"):
        run = Run(path.absolute())
        try:
            content = run.read_record()
        except RunError:
            if run.record.exists() or not run.config.exists():
                continue
            started = datetime.fromtimestamp(run.config.stat().st_mtime, UTC)
            content = {"started_at": started.isoformat()}  # killed before it had a record
        if content.get("status") != SearchStatus.COMPLETED:
            found.append((str(content.get("started_at")), os.fspath(run.directory)))
    if not found:
        raise RunError(
            f"--resume: no unfinished run in {directory}; give one by --name, or start without"
            " --resume"
        )
    return Run(Path(max(found)[1]))


def check_new_run(directory: Path, name: str | None) -> None:
    """Check that `create_run` would succeed, without creating anything.

    Raises:
        RunError: as `create_run`.
    """
    directory = directory.absolute()
    try:
        if name is not None and (directory / name).exists():
            raise _name_is_taken(directory, name)
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _not_writable(directory, error) from error


def create_run(directory: Path, name: str, fill: Callable[[Run], None] = lambda _: None) -> Run:
    """Create the directory of a new run with the files that `fill` writes, atomically.

    A process that is killed meanwhile leaves no run that could neither be started nor resumed.

    Raises:
        RunError: the name is taken, or the directory cannot be written.
        OSError: the disk is full.
    """
    path = directory / name
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The files lie a directory deeper until they are complete: what a killed process leaves of
        # them is never found as a run.
        with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as scratch:
            new = Path(scratch) / name
            new.mkdir()
            fill(Run(new))
            if path.exists():  # `rename` would replace an empty directory
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(path))
            new.rename(path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and path.exists():
            raise _name_is_taken(directory, name) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # an error of the machine, not of the user
        raise _not_writable(directory, error) from error
    return Run(path.absolute())


def _name_is_taken(directory: Path, name: str) -> RunError:
    return RunError(
        f"output.name is {name!r}, but {directory} holds a run of that name; choose another --name,"
        " or resume that run by --resume"
    )


def _not_writable(directory: Path, error: OSError) -> RunError:
    return RunError(
        f"output.directory is {os.fspath(directory)!r}, but it cannot be written"
        f" ({error.strerror}); choose a writable directory with --output.directory"
    )


def _without_added(columns: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in columns if name not in _ADDED)


def _number_of(directory: str) -> int:
    """Return 1 for `final`, 2 for `final-2`."""
    ending = directory.removeprefix("final").removeprefix("-")
    return int(ending) if ending.isdecimal() else 1


def _is_complete(row: Mapping[str, Any]) -> bool:
    """Return whether a line that a crash may have cut has all its cells; the last may be cut."""
    return None not in row.values()
