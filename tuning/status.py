"""`python -m tuning.status`: what a search is doing, told from the run's own files."""

from training.command import DONE, interrupts_end_at_once, run_command

if __name__ == "__main__":
    interrupts_end_at_once()  # while the libraries below are loaded

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.errors import RunError, StorageError
from results.fetching import fetch_overview
from results.next_step import next_step
from results.places import is_uri, without_secrets
from results.run import Run, open_run
from training.errors import InputError
from training.options import OptionParser

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_FETCHES = 10.0
_NUM_LOG_LINES = 5


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
        "--follow", action="store_true", help="say it again whenever it changes, until the end"
    )
    options = parser.parse(arguments)
    if options.rebuild:
        _rebuild(options.run)
    if is_uri(options.run):
        return _tell_fetched(options.run, follow=options.follow)
    run = open_run(Path(options.run))
    told = ""
    while True:
        told = _tell("\n".join(describe(run)), told)
        if not (options.follow and run.is_held()):
            return _tell_next(run)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _rebuild(place: str) -> None:
    if is_uri(place):
        raise InputError(
            f"--run is {without_secrets(place)}, but must be a directory with --rebuild; fetch the"
            " run by tuning.search --resume URI first"
        )
    from tuning.rebuild import rebuild  # which loads torch and Ray

    run = open_run(Path(place))
    status = rebuild(run)
    print(f"search.json was made again from the other files: the search is {status}")


def _tell_fetched(uri: str, *, follow: bool) -> int:
    told = ""
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            run = fetch_overview(uri, Path(scratch))
            told = _tell("\n".join(describe(run, uri=uri)), told)
            if not (follow and run.read_whole_record()["status"] == "running"):
                return _tell_next(run, uri=uri)
            time.sleep(_SECONDS_BETWEEN_FETCHES)


def describe(run: Run, *, uri: str | None = None) -> Iterator[str]:
    """Status, trials by state, the best so far and its lead, the last lines of the log.

    Args:
        run: on this machine.
        uri: of what `run` is a copy, if it is one.

    Raises:
        RunError: the run has no readable record.
    """
    record = run.read_whole_record()
    yield f"run       {without_secrets(uri) if uri else run.directory}"
    yield f"status    {_status(run, record, is_copy=uri is not None)}, {record['seconds']:.0f} s"
    rows = run.read_trials()
    for source, name in (("default search", "trials"), ("confirm", "confirm")):
        states = Counter(row["status"] for row in rows if row["source"] in source.split())
        counts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        asked = f" of {record['trials']['requested']}" if name == "trials" else ""
        if counts:
            yield f"{name:<9} {sum(states.values())}{asked} begun: {counts}"
    yield from _describe_best(record)
    lives = record["status"] == "running" and (uri is not None or run.is_held())
    running = [row["trial_id"] for row in rows if lives and row["status"] == "running"]
    workers = {row["trial_id"]: row for row in run.read_workers()}  # the last of each
    for row in (workers[trial_id] for trial_id in running if trial_id in workers):
        yield (
            f"worker    {row['trial_id']} on {row['node']} ({row['address']}), process"
            f" {row['process']}, actor {row['actor_id']}, since {row['at']}"
        )
    if run.log.exists():
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
        yield from (f"log       {line}" for line in lines[-_NUM_LOG_LINES:])


def _tell_next(run: Run, *, uri: str | None = None) -> int:
    record = run.read_whole_record()
    lives = run.is_held() if uri is None else record["status"] == "running"
    print(f"Next: {next_step(run, record, lives=lives, uri=uri)}")
    return DONE


def _status(run: Run, record: Mapping[str, Any], *, is_copy: bool) -> str:
    if record["status"] == "running" and is_copy:
        return "running when it was last mirrored"
    if record["status"] == "running" and not run.is_held():
        return "running when its process was lost (tuning.search --resume goes on)"
    return str(record["status"])


def _describe_best(record: Mapping[str, Any]) -> Iterator[str]:
    best, default = record["best"], record["default"]
    if best is None:
        yield "best      no trial has a score at the full budget yet"
        return
    values = ", ".join(f"{name} {value:.4g}" for name, value in best["parameters"].items())
    yield f"best      {best['trial_id']} ({values}): macro-F1 {best['f1_macro']:.4f}"
    if default is None or default["f1_macro"] is None:
        yield "default   has no score yet"
        return
    if best["trial_id"] == default["trial_id"]:
        yield "default   nothing better has been found"
        return
    lead = (best["f1_macro"] - default["f1_macro"]) * 100
    yield f"default   macro-F1 {default['f1_macro']:.4f}; the best leads by {lead:+.2f} points"


def _tell(text: str, told: str) -> str:
    if text != told:
        print(text + ("\n" if told else ""), flush=True)
    return text


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(StorageError,)))
