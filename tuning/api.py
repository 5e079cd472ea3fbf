"""A search from Python, a notebook or a thread: configuration in, record out."""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.log import PACKAGES, log_to_terminal, logging_kept
from results.run import Run
from training.cli import shorten
from training.errors import InputError
from training.options import Values, merge
from tuning.config import Configuration
from tuning.log_lines import TerminalView
from tuning.run_search import run_search
from tuning.signals import kept_handlers
from tuning.start import build, find_run, read_chosen, resolve_resumed, with_name

Place = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A completed search."""

    directory: Path
    """Of the run, for `results.load.load_run` and `python -m evaluation.final --run`."""
    record: dict[str, Any]
    """Content of `search.json`."""


def search(
    configuration: Mapping[str, Any] | Place | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    resume: bool | str = False,
    quiet: bool = False,
) -> SearchResult:
    """Do what `python -m tuning.search` does, with the same checks, files and defaults.

    It works in a notebook and in a thread, and as often as wanted, one search at a time. Ctrl-C,
    which a notebook calls interrupting the kernel, lets trials write checkpoints; a second one
    is a KeyboardInterrupt at once. In a thread no signal reaches the search. Loggers and handlers
    of signals are left as they were; `RAY_...` and `TUNE_...` variables that are not set are.

    Args:
        configuration: any part of the fields as sections of them, a YAML file, or the name of a
            shipped configuration; None: the bundled sample.
        overrides: fields that go before it, as sections or as `{"search.trials": 8}`.
        resume: go on with the run of `output.name`, or with the newest unfinished one in
            `output.directory`; or the URI of one.
        quiet: print nothing; the run's `logs/search.log` tells all the same.

    Raises:
        InputError: bad configuration or data; its `problems` are a line each.
        RunError: the run's directory cannot be used: the name is taken, there is no such run.
        StorageError: the storage cannot be reached.
        ClusterError: Ray cannot be reached, or this process is connected to one already.
        SearchAbortedError: the trials fail alike, or none has a score.
        SearchInterruptedError: Ctrl-C or SIGTERM came; `resume=True` goes on.
        OSError: the disk is full or cannot be written.
    """
    given = merge(_read(configuration), _sections(overrides or {}, "overrides"))
    uri = resume if isinstance(resume, str) else ""
    known = find_run(given, uri) if resume else None
    checked = resolve_resumed(known, given) if known else build(given)
    if known is None:
        checked = with_name(checked, _label(configuration))
    with logging_kept(PACKAGES, "ray"), kept_handlers(), _told(quiet=quiet):
        run = run_search(
            checked,
            resume=known,
            command=_command(checked),
            watchers=lambda found: [] if quiet else [TerminalView(found)],
            ends_process=False,
        )
    return SearchResult(directory=run.directory, record=run.read_whole_record())


def _read(configuration: Mapping[str, Any] | Place | None) -> Values:
    if isinstance(configuration, Mapping):
        return _sections(configuration, "configuration")
    if configuration is None or isinstance(configuration, str | os.PathLike):
        return read_chosen(None if configuration is None else os.fspath(configuration))
    raise InputError(
        f"configuration is {shorten(configuration)}, but must be a mapping of sections, a YAML"
        " file or the name of a shipped configuration"
    )


def _sections(values: Mapping[str, Any], where: str) -> Values:
    """Plain sections of fields; `section.field` is put in its section, a path becomes text."""
    sections: Values = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: {shorten(key)} is no name of a section; use text")
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
    """The command that repeats the run, ready for a shell."""
    output = configuration.output
    config = Run(Path(output.directory).absolute() / str(output.name)).config
    return shlex.join(["python", "-m", "tuning.search", "--config", os.fspath(config)])


@contextmanager
def _told(*, quiet: bool) -> Iterator[None]:
    """What our packages say is printed, or goes nowhere but to the run's log."""
    log_to_terminal()
    if quiet:
        for name in PACKAGES:
            logging.getLogger(name).handlers = [logging.NullHandler()]
    yield
