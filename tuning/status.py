"""The command `python -m tuning.status`: report the status of a search from its run's files."""

from training.cli import (
    ExitCode,
    OptionParser,
    exit_on_interrupt,
    hide_secrets,
    is_uri,
    run_command,
)

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from results.errors import RunError, StorageError
from results.live_view import LiveView, display, is_live, terminal_console
from results.mirror import fetch_overview
from results.overview import Overview, read_overview
from results.run import Run, open_run
from results.status_text import describe, next_step
from results.trial_states import SearchStatus
from training.errors import InputError

_SECONDS_BETWEEN_READS = 2.0
_SECONDS_BETWEEN_FETCHES = 10.0


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(
        prog="python -m tuning.status",
        description="Report how a search stands, from another terminal or after its end.",
    )
    parser.add_argument(
        "--run", required=True, metavar="DIR|URI", help="directory or URI of the run"
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="first rebuild search.json from trials.csv, curves.csv, config.yaml and the data",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="display the search until it ends; without a terminal, print lines of progress",
    )
    options = parser.parse(arguments)
    if options.rebuild:
        _rebuild(options.run)
    with tempfile.TemporaryDirectory() as scratch:
        if is_uri(options.run):
            read, pause = _reader_of_copy(options.run, Path(scratch)), _SECONDS_BETWEEN_FETCHES
        else:
            read, pause = _reader(open_run(Path(options.run))), _SECONDS_BETWEEN_READS
        latest = _report(read, pause=pause if options.follow else None)
        print(f"Next: {_next(options.run, Path(scratch), latest)}")
    return ExitCode.DONE


def _rebuild(location: str) -> None:
    if is_uri(location):
        raise InputError(
            f"--run is {hide_secrets(location)}, but must be a directory with --rebuild; fetch"
            " the run by tuning.search --resume URI first"
        )
    from tuning.resume import rebuild  # which loads torch and Ray

    status = rebuild(open_run(Path(location)))
    print(f"search.json was rebuilt from the other files: the search is {status}")


def _next(location: str, scratch: Path, latest: Overview) -> str:
    if is_uri(location):
        copy = fetch_overview(location, scratch)
        return next_step(copy, copy.read_whole_record(), is_alive=latest.is_alive, uri=location)
    run = open_run(Path(location))
    return next_step(run, run.read_whole_record(), is_alive=latest.is_alive)


def _reader(run: Run) -> Callable[[], Overview]:
    return lambda: read_overview(run, is_alive=run.is_locked())


def _reader_of_copy(uri: str, scratch: Path) -> Callable[[], Overview]:
    def read() -> Overview:
        run = fetch_overview(uri, scratch)
        # The lock is on the other machine, so that only the recorded status is known here.
        is_alive = run.read_whole_record()["status"] == SearchStatus.RUNNING
        return read_overview(run, is_alive=is_alive, location=hide_secrets(uri))

    return read


def _report(read: Callable[[], Overview], *, pause: float | None) -> Overview:
    """Print the state of a run, with a pause again and again until it ends; return the last one.

    Raises:
        RunError: the run has no readable record.
    """
    latest = read()
    is_finished = pause is None or not latest.is_alive
    if is_finished or not is_live():
        _print(latest)
    if pause is None or is_finished:
        return latest
    if is_live():
        print(f"run {latest.location}")
    with display(lambda: latest):
        while latest.is_alive:
            time.sleep(pause)
            latest = read()
    if not is_live():
        _print(latest)
    return latest


def _print(overview: Overview) -> None:
    if is_live():
        print(f"run {overview.location}", flush=True)
        terminal_console().print(LiveView(overview))
    else:
        print("\n".join(describe(overview, datetime.now(UTC))), flush=True)


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(StorageError,)))
