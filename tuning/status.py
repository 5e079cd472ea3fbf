"""`python -m tuning.status`: what a search is doing, told from the run's own files."""

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
from results.live_view import LiveView, is_live, shown, terminal
from results.mirror import fetch_overview
from results.overview import Overview, read_overview
from results.run import Run, open_run
from results.status_text import describe, next_step
from results.trial_states import SearchStatus
from training.errors import InputError

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_FETCHES = 10.0


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(
        prog="python -m tuning.status",
        description="Say what a search is doing, from another terminal or after its end.",
    )
    parser.add_argument(
        "--run", required=True, metavar="DIR|URI", help="directory of the run, or its URI"
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="first make search.json again from trials.csv, curves.csv, config.yaml and the data",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="show it until the search ends; without a terminal, lines of progress",
    )
    options = parser.parse(arguments)
    if options.rebuild:
        _rebuild(options.run)
    with tempfile.TemporaryDirectory() as scratch:
        if is_uri(options.run):
            look, pause = _looks_at_copy(options.run, Path(scratch)), _SECONDS_BETWEEN_FETCHES
        else:
            look, pause = _looks_at(open_run(Path(options.run))), _SECONDS_BETWEEN_LOOKS
        latest = _tell(look, pause=pause if options.follow else None)
        print(f"Next: {_next(options.run, Path(scratch), latest)}")
    return ExitCode.DONE


def _rebuild(place: str) -> None:
    if is_uri(place):
        raise InputError(
            f"--run is {hide_secrets(place)}, but must be a directory with --rebuild; fetch the"
            " run by tuning.search --resume URI first"
        )
    from tuning.resume import rebuild  # which loads torch and Ray

    run = open_run(Path(place))
    status = rebuild(run)
    print(f"search.json was made again from the other files: the search is {status}")


def _next(place: str, scratch: Path, latest: Overview) -> str:
    if is_uri(place):
        copy = fetch_overview(place, scratch)
        return next_step(copy, copy.read_whole_record(), lives=latest.lives, uri=place)
    run = open_run(Path(place))
    return next_step(run, run.read_whole_record(), lives=latest.lives)


def _looks_at(run: Run) -> Callable[[], Overview]:
    return lambda: read_overview(run, lives=run.is_held())


def _looks_at_copy(uri: str, scratch: Path) -> Callable[[], Overview]:
    def look() -> Overview:
        run = fetch_overview(uri, scratch)
        # Who writes it cannot be seen from here: its own word is all there is.
        lives = run.read_whole_record()["status"] == SearchStatus.RUNNING
        return read_overview(run, lives=lives, place=hide_secrets(uri))

    return look


def _tell(look: Callable[[], Overview], *, pause: float | None) -> Overview:
    """Tell a run; with a pause between looks until it has ended. Returns what it told last.

    Raises:
        RunError: the run has no readable record.
    """
    latest = look()
    is_over = pause is None or not latest.lives
    if is_over or not is_live():
        _print(latest)
    if pause is None or is_over:
        return latest
    if is_live():
        print(f"run {latest.place}")
    with shown(lambda: latest):
        while latest.lives:
            time.sleep(pause)
            latest = look()
    if not is_live():
        _print(latest)
    return latest


def _print(overview: Overview) -> None:
    if is_live():
        print(f"run {overview.place}", flush=True)
        terminal().print(LiveView(overview))
    else:
        print("\n".join(describe(overview, datetime.now(UTC))), flush=True)


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(StorageError,)))
