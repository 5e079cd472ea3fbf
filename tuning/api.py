"""Run a search from Python, a notebook or a thread: `search(configuration)` returns its record."""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.log import PACKAGES, log_to_terminal, preserve_logging
from results.run import Run
from training.cli import shorten
from training.errors import InputError
from training.options import Values, merge
from tuning.config import Configuration
from tuning.log_lines import TerminalView
from tuning.run_search import run_search
from tuning.signals import kept_handlers
from tuning.start import build, find_run, read_chosen, resolve_resumed, with_name

FileOrName = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A completed search."""

    directory: Path
    """Directory of the run, for `results.load.load_run` and `python -m evaluation.final --run`."""
    record: dict[str, Any]
    """Content of `search.json`."""


def search(
    configuration: Mapping[str, Any] | FileOrName | None = None,
    *,
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

    Args:
        configuration: sections with any of their fields, a YAML file, or the name of a shipped
            configuration; None: the bundled sample.
        overrides: fields that take precedence, as sections or as `{"search.trials": 8}`.
        resume: True resumes the run of `output.name`, or else the newest unfinished run in
            `output.directory`; a URI resumes the run that was mirrored there.
        quiet: print nothing; the run's `logs/search.log` is written in any case.

    Raises:
        InputError: bad configuration or data; its `problems` have one line each.
        RunError: the name of the run is taken, or there is no such run to resume.
        StorageError: the storage cannot be reached.
        ClusterError: Ray cannot be reached, or this process is connected to Ray already.
        SearchAbortedError: the trials fail with the same error, or none has a score.
        SearchInterruptedError: Ctrl-C or SIGTERM was received; `resume=True` resumes the run.
        OSError: the disk is full or cannot be written.
    """
    given = merge(_read(configuration), _sections(overrides or {}, "overrides"))
    uri = resume if isinstance(resume, str) else ""
    known = find_run(given, uri) if resume else None
    checked = resolve_resumed(known, given) if known else build(given)
    if known is None:
        checked = with_name(checked, _label(configuration))
    with preserve_logging(PACKAGES, "ray"), kept_handlers(), _logging(quiet=quiet):
        run = run_search(
            checked,
            resume=known,
            command=_command(checked),
            watchers=lambda found: [] if quiet else [TerminalView(found)],
            ends_process=False,
        )
    return SearchResult(directory=run.directory, record=run.read_whole_record())


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


@contextmanager
def _logging(*, quiet: bool) -> Iterator[None]:
    """Print the log lines of our packages, or with `quiet` write them to the run's log alone."""
    log_to_terminal()
    if quiet:
        for name in PACKAGES:
            logging.getLogger(name).handlers = [logging.NullHandler()]
    yield
