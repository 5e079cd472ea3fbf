"""Run a search from Python, a notebook or a thread: `search(configuration)` returns its record."""

import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.key_figures import KeyFigure, confirmed_figure
from results.log import PACKAGES, log_to_terminal, preserve_logging, quieted_transformers
from results.run import Run
from results.summary import Summary, summarize
from training.cli import shorten
from training.errors import InputError
from training.frames import holds_frame, read_frame, write_frame
from training.options import Values, merge
from tuning.config import Configuration
from tuning.log_lines import TerminalView
from tuning.run_search import run_search
from tuning.signals import kept_handlers
from tuning.start import find_run, read_chosen, resolve, shipped_names, with_name

FileOrName = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A completed search; a notebook displays a table."""

    directory: Path
    """Directory of the run, for `results.load.load_run` and `python -m evaluation.final --run`.

    `evaluation.api.evaluate` takes the result itself.
    """
    record: dict[str, Any]
    """Content of `search.json`."""

    @property
    def winner(self) -> dict[str, float]:
        """The searched parameters of the winner: {name: value}."""
        return dict(self.record["best"]["parameters"])

    @property
    def score(self) -> KeyFigure | None:
        """The winner's mean over the replicates with its interval; None: it was not confirmed.

        The winner was selected on it. The score to quote is `test` of `evaluation.api.evaluate`.
        """
        return confirmed_figure(self.record, "best")

    def __repr__(self) -> str:
        """Return a summary in lines."""
        return self._summary().as_text()

    def _repr_html_(self) -> str:
        return self._summary().as_html()

    def _summary(self) -> Summary:
        step = "evaluation.api.evaluate(result) evaluates the winner on the test set, once"
        run = Run(self.directory)
        return summarize("SearchResult", run, self.record, None, next_step=step)


def search(
    configuration: Mapping[str, Any] | FileOrName | None = None,
    *,
    data: object = None,
    overrides: Mapping[str, Any] | None = None,
    resume: bool | str = False,
    quiet: bool = False,
) -> SearchResult:
    """Search as `python -m tuning.search` does, with the same checks, files and defaults.

    A notebook or a thread may call this repeatedly, one search at a time. At Ctrl-C (in a notebook:
    interrupt the kernel) trials write checkpoints and the search ends; a second Ctrl-C raises
    KeyboardInterrupt at once. No signal reaches a search in a thread. Loggers and signal handlers
    are restored at the end; `RAY_...` and `TUNE_...` environment variables that were not set stay
    set.

    A table in memory is written into the run as `data.parquet`, where the final evaluation and
    `resume` read it; the same rows give the same splits. Its rows are treated as those of a file: a
    row without a text or a label is dropped and counted.

    Args:
        configuration: sections with any of their fields, a YAML file, or the name of a shipped
            configuration; None: the bundled sample.
        data: the table of texts and labels, instead of `data.path`: a path or URI, a pandas
            DataFrame, or an object with `to_pandas` such as a polars DataFrame, a `pyarrow.Table`
            or a `datasets.Dataset`, whose class codes become their names. With `resume` it must
            hold the rows of the run, and may be left out.
        overrides: fields that take precedence, as sections or as `{"search.trials": 8}`.
        resume: True resumes the run of `output.name`, or else the newest unfinished run in
            `output.directory`; a URI resumes the run that was mirrored there.
        quiet: print nothing; the run's `logs/search.log` is written in any case.

    Raises:
        InputError: bad configuration or data; its `problems` have one line each.
        RunError: the name of the run is taken, there is no such run to resume, or `data` holds
            other rows than that run.
        StorageError: the storage cannot be reached.
        ClusterError: Ray cannot be reached, or this process is connected to Ray already.
        SearchAbortedError: the trials fail with the same error, or none has a score.
        SearchInterruptedError: Ctrl-C or SIGTERM was received; `resume=True` resumes the run.
        OSError: the disk is full or cannot be written.
    """
    in_memory = not (data is None or isinstance(data, str | os.PathLike))
    table = read_frame(data) if in_memory else None
    given = _given(configuration, data, overrides or {})
    uri = resume if isinstance(resume, str) else ""
    known = find_run(given, uri) if resume else None
    if known is not None and in_memory:
        _check_same_table(known, table)
    with _file_of(None if known else table) as path:
        if path is not None:
            given = merge(given, {"data": {"path": os.fspath(path)}})
        checked = resolve(given, known)
        if known is None:
            checked = with_name(checked, _label(configuration))
        with preserve_logging(PACKAGES, "ray"), kept_handlers(), quieted_transformers():
            log_to_terminal(quiet=quiet)
            run = run_search(
                checked,
                resume=known,
                command=_command(checked),
                owns_data=path is not None,
                watchers=lambda found: [] if quiet else [TerminalView(found)],
                ends_process=False,
            )
    return SearchResult(directory=run.directory, record=run.read_whole_record())


def _given(
    configuration: Mapping[str, Any] | FileOrName | None,
    data: object,
    overrides: Mapping[str, Any],
) -> Values:
    """Return the given values; `data`, where it is a path, becomes `data.path`.

    Raises:
        InputError: a value is no configuration, or `data` and `data.path` are both given.
    """
    chosen, changes = _read(configuration), _sections(overrides, "overrides")
    if data is None:
        return merge(chosen, changes)
    is_shipped = isinstance(configuration, str) and configuration in shipped_names()
    own = {} if is_shipped else chosen  # the path of a shipped one is only a default
    for where, values in (("overrides", changes), ("configuration", own)):
        section = values.get("data")
        if isinstance(section, dict) and section.get("path") is not None:
            raise InputError(
                f"data is given, but {where} holds data.path {shorten(section['path'])} as well,"
                " and a search reads one table; leave one of them out"
            )
    path = {"data": {"path": os.fspath(data)}} if isinstance(data, str | os.PathLike) else {}
    return merge(merge(chosen, changes), path)


def _check_same_table(run: Run, table: Any) -> None:
    """Check that a run to resume was started with this table.

    Raises:
        RunError: it was started with other rows, or with a file.
    """
    if not (run.data.is_file() and holds_frame(run.data, table)):
        raise RunError(
            f"resume: data holds other rows than run {run.directory} started with; leave data out,"
            " or start a new run"
        )


@contextmanager
def _file_of(table: Any) -> Iterator[Path | None]:
    """Write a table to a temporary file, which messages name `data`; None: there is no table."""
    if table is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        path = Path(folder) / "data.parquet"
        write_frame(table, path)
        try:
            yield path
        except InputError as error:
            problems = (line.replace(os.fspath(path), "data") for line in error.problems)
            raise InputError(*problems) from error


def _read(configuration: Mapping[str, Any] | FileOrName | None) -> Values:
    if isinstance(configuration, Mapping):
        return _sections(configuration, "configuration")
    if configuration is None or isinstance(configuration, str | os.PathLike):
        return read_chosen(None if configuration is None else os.fspath(configuration))
    raise InputError(
        f"configuration is {shorten(configuration)}, but must be a mapping of sections, a YAML"
        " file or the name of a shipped configuration"
    )


def _sections(values: Mapping[str, Any], where: str) -> Values:
    """Return plain sections: `section.field` is put into its section, a path becomes text."""
    sections: Values = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: {shorten(key)} is not the name of a section; use text")
        section, dot, field = key.partition(".")
        sections = merge(sections, {section: {field: _plain(value)} if dot else _plain(value)})
    return sections


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _label(configuration: object) -> str:
    return Path(configuration).stem if isinstance(configuration, str | os.PathLike) else "search"


def _command(configuration: Configuration) -> str:
    """Return the command that repeats the run, quoted for a shell."""
    output = configuration.output
    config = Run(Path(output.directory).absolute() / str(output.name)).config
    return shlex.join(["python", "-m", "tuning.search", "--config", os.fspath(config)])
