"""The progress of a search as one value, `Overview`, which is read from the files of its run."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.parameter_values import format_parameters, short_model_names
from results.run import Run
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from results.verdict import confirmed_score, full_epochs, when_taken
from training.cli import printable

_LAST_BYTES = 64 * 1024
"""Bytes at the end of the log that are searched for events."""

_LINE = re.compile(
    r"\d{4}-\d\d-\d\d (?P<at>\d\d:\d\d:\d\d),\d+ (?P<level>INFO|WARNING|ERROR) [\w.]+: (?P<text>.+)"
)

_OF_TRIAL = re.compile(
    r"(?:trial )?t\d{4,} (completed|ended|stopped|failed|diverged|collapsed|resumed|goes on)\b"
)
"""Start of a line on the end or resume of a trial; logs of older versions have the last form."""

_MAX_RUNGS = 6
"""Rows of the table of rungs; of more rungs, neighbours are grouped."""

_NUM_EVENTS = 5

WAITING = "waiting"
"""State of a trial that has a row but has not started; no file contains it."""

AT_LAST_RUNG = "at last rung"
"""State of a trial whose row has the status `stopped`, but which was not stopped early: all trials
of its search end at the last rung."""

Row = Mapping[str, str]
"""A row of `trials.csv` or `workers.csv`, cells as text."""

Version = tuple[int, int]
"""Modification time and size of a file."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A trial that ended or was resumed, or a warning."""

    at: str
    """HH:MM:SS on the clock of the machine that runs the search."""
    text: str
    is_warning: bool


@dataclass(frozen=True, kw_only=True)
class Best:
    """The configuration that would win now, and its score."""

    trial_id: str
    parameters: str
    """Its searched values in one line."""
    score: float
    is_confirmed: bool
    """Whether the score is a mean over replicates."""
    taken: str
    """After how many epochs the score was taken; empty for a full training."""
    is_default: bool
    """Whether it is trial 0."""
    lead: float | None
    """Difference to the score of trial 0; None if that has none, or is the best itself.

    In the search it is one of search scores, later one of means over replicates.
    """
    default: float | None
    """Trial 0's score at the same budget and, of means over replicates, on the same ones."""


@dataclass(frozen=True, kw_only=True)
class RungCounts:
    """A rung, or a few neighbours: how many trials reached it, and how many were stopped there.

    The last one is where trials end: the full budget, or the last rung.
    """

    epochs: float
    """Epochs at the rung, or at the last of the neighbours."""
    reached: int
    stopped: int
    end: str = ""
    """Name of the last one, `full budget` or `last rung`; empty for the others."""


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial that a worker trains at the moment."""

    trial_id: str
    epochs: float
    score: float | None
    """Score of its last evaluation."""
    is_confirmation: bool
    worker: Row | None
    """Its row of `workers.csv`: node and process."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Training rows of the search, repeats counted, and how many early stopping saved."""

    trained: int
    saved: int
    """Rows that trials stopped early had left to where trials of the search end."""
    full: int
    """Rows that training all requested trials to the full budget would take."""
    confirmation: int
    """Rows trained in the confirmation."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A search at one moment; None means unknown."""

    location: str
    """Directory or URI."""
    status: str
    is_alive: bool
    """Whether a process is running the search."""
    score_label: str
    """Label of the score, for people."""
    phase: str | None
    at: datetime | None
    """When the record was written; None if the search has ended."""
    seconds: float
    """Duration of the search until then."""
    requested: int
    """Number of trials requested."""
    searched: Mapping[str, int]
    """Number of trials of the search by state."""
    confirmed: Mapping[str, int]
    """Number of trials of the confirmation by state; `waiting` ones have not started."""
    epochs: float | None
    """Epochs of a full training."""
    epochs_of_search: float | None
    """Epochs after which a trial of the search ends."""
    running: Sequence[RunningTrial]
    rungs: Sequence[RungCounts]
    best: Best | None
    baseline: Mapping[str, Any] | None
    """`baseline` of the record: the line to beat; None: not measured."""
    budget: Budget | None
    rows_per_second: float | None
    seconds_left: float | None
    time_budget_s: float | None
    events: Sequence[Event]

    @property
    def num_started(self) -> int:
        """Number of trials of the search that have started."""
        return sum(self.searched.values())


@dataclass(kw_only=True)
class WatchedRun:
    """A run that is read repeatedly."""

    run: Run
    is_alive: Callable[[], bool] = lambda: True
    """Return whether a process is writing the run."""
    _version: object = field(default=None, init=False)
    _overview: Overview | None = field(default=None, init=False)

    def read(self) -> Overview | None:
        """Return the overview; the previous one while the files cannot be read."""
        version = (_version(self.run.record), _version(self.run.log), self.is_alive())
        if version != self._version:
            try:
                self._overview = read_overview(self.run, is_alive=version[2])
                self._version = version
            except (RunError, OSError, ValueError, KeyError):
                pass  # an observer must not end the search
        return self._overview


def read_overview(run: Run, *, is_alive: bool, location: str | None = None) -> Overview:
    """Read the overview from the files of a run.

    Args:
        run: on this machine.
        is_alive: whether a process is writing the run.
        location: URI of the run that `run` is a copy of; None: it is no copy.

    Raises:
        RunError: the run has no readable record.
    """
    record = run.read_whole_record()
    rows, workers = run.read_trials(), run.read_workers()
    events = read_events(run.log, _NUM_EVENTS)
    return overview_of(
        record, rows, workers, events, location=location or str(run.directory), is_alive=is_alive
    )


def overview_of(
    record: Mapping[str, Any],
    rows: Sequence[Row],
    workers: Sequence[Row] = (),
    events: Sequence[Event] = (),
    *,
    location: str,
    is_alive: bool,
) -> Overview:
    """Make the overview from a record and the rows of the tables.

    Args:
        record: content of `search.json`.
        rows: rows of `trials.csv`.
        workers: rows of `workers.csv`.
        events: the last events.
        location: directory or URI of the run.
        is_alive: whether a process is writing the run.
    """
    is_searching = is_alive and record["status"] == SearchStatus.RUNNING
    progress = (record.get("progress") or {}) if is_searching else {}
    plan = record.get("search") or {}
    searched = [row for row in rows if row["source"] != Source.CONFIRM]
    waiting = set(progress.get("waiting", ()))
    return Overview(
        location=location,
        status=record["status"],
        is_alive=is_alive,
        score_label=printable(record["objective"]["label"]),
        phase=progress.get("phase"),
        at=datetime.fromisoformat(progress["at"]) if progress else None,
        seconds=record["seconds"],
        requested=record["trials"]["requested"],
        searched=_count(searched, waiting),
        confirmed=_count((row for row in rows if row["source"] == Source.CONFIRM), waiting),
        epochs=full_epochs(record),
        epochs_of_search=_end(plan) / plan["rows_per_epoch"] if plan else None,
        running=_running(rows, waiting, workers) if is_alive else (),
        rungs=_count_rungs(searched, plan) if plan else (),
        best=_best(record),
        baseline=record.get("baseline"),
        budget=_budget(record, searched, plan) if plan else None,
        rows_per_second=progress.get("rows_per_second") or _mean_rows_per_second(record),
        seconds_left=_seconds_left(progress),
        time_budget_s=progress.get("time_budget_s"),
        events=tuple(events),
    )


def read_events(log: Path, num: int) -> tuple[Event, ...]:
    """Return the last `num` events of a log, the newest last; none if there is no log."""
    if not log.is_file():
        return ()
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _LAST_BYTES, 0))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return tuple(events_of(lines))[-num:]


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """Find the events among the lines of a log."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        is_warning = found["level"] != "INFO"
        if is_warning or _OF_TRIAL.match(found["text"]):
            yield Event(at=found["at"], text=printable(found["text"]), is_warning=is_warning)


def _seconds_left(progress: Mapping[str, Any]) -> float | None:
    """Return the forecast of a record; of the range of an older version, its middle."""
    left: float | list[float] | None = progress.get("seconds_left")
    return sum(left) / len(left) if isinstance(left, list) else left


def _count(rows: Iterable[Row], waiting: set[str]) -> dict[str, int]:
    return dict(sorted(Counter(_state(row, waiting) for row in rows).items()))


def _state(row: Row, waiting: set[str]) -> str:
    if row["trial_id"] in waiting:
        return WAITING
    return AT_LAST_RUNG if row["stopped_by"] == StoppedBy.CONFIRMATION else row["status"]


def _running(
    rows: Iterable[Row], waiting: set[str], workers: Iterable[Row]
) -> tuple[RunningTrial, ...]:
    last_workers = {worker["trial_id"]: worker for worker in workers}
    return tuple(
        RunningTrial(
            trial_id=row["trial_id"],
            epochs=float(row["epochs"] or 0),
            score=float(row["score"]) if row["score"] else None,
            worker=last_workers.get(row["trial_id"]),
            is_confirmation=row["source"] == Source.CONFIRM,
        )
        for row in rows
        if row["status"] == Status.RUNNING and row["trial_id"] not in waiting
    )


def _best(record: Mapping[str, Any]) -> Best | None:
    best, default = record["best"], record["default"] or {}
    if best is None:
        return None
    is_default = best["trial_id"] == default.get("trial_id")
    confirmed = confirmed_score(record, "best")
    ours, other = _same_budget(record)
    return Best(
        trial_id=best["trial_id"],
        parameters=format_parameters(best["parameters"], short_model_names(record)),
        score=best["score"],
        is_confirmed=confirmed is not None,
        taken="" if confirmed is not None else when_taken(record, "best"),
        is_default=is_default,
        lead=None if ours is None or other is None or is_default else ours - other,
        default=other,
    )


def _same_budget(record: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return comparable scores of the best and of trial 0; None: there are none.

    Means are those that the confirmation compared, of the replicates on which both learnt, so that
    the lead is that of the verdict; scores of the search count only if both were taken after about
    as many epochs.
    """
    compared = (record.get("confirmation") or {}).get("winner_beats_default")
    if compared is not None and compared.get("leader") == record["best"]["parameters"]:
        return compared["leader_mean"], compared["default_mean"]
    best, default = record["best"], record["default"] or {}
    if confirmed_score(record, "best") is None:
        is_same = when_taken(record, "best") == when_taken(record, "default")
        return best["score"], default.get("search_score") if is_same else None
    pairs = [
        pair
        for pair in zip(_on_replicates(record, best), _on_replicates(record, default), strict=False)
        if None not in pair
    ]
    if not pairs:
        return best["score"], None
    ours, others = ([float(score) for score in of_one] for of_one in zip(*pairs, strict=True))
    return sum(ours) / len(ours), sum(others) / len(others)


def _on_replicates(record: Mapping[str, Any], one: Mapping[str, Any]) -> Sequence[float | None]:
    candidates = record["confirmation"]["candidates"]
    scores = (c["score"] for c in candidates if c["parameters"] == one.get("parameters"))
    return next(scores, ())


def _count_rungs(rows: Sequence[Row], plan: Mapping[str, Any]) -> tuple[RungCounts, ...]:
    """Count the trials at the rungs from the first to the last, then where trials end."""
    end, is_rung = _end(plan), bool(plan.get("ends_at_last_rung"))
    rungs = [rung for rung in plan["rungs"] if rung < end]
    ends = [*rungs[1:], end]
    size = -(-len(rungs) // _MAX_RUNGS) or 1
    found = []
    for start in range(0, len(rungs), size):
        group = range(start, min(start + size, len(rungs)))
        stopped = sum(_was_stopped(row, rungs[k], ends[k]) for row in rows for k in group)
        reached = _num_reached(rows, rungs[start])
        epochs = rungs[group[-1]] / plan["rows_per_epoch"]
        found.append(RungCounts(epochs=epochs, reached=reached, stopped=stopped))
    last = RungCounts(
        epochs=end / plan["rows_per_epoch"],
        reached=_num_reached(rows, end),
        stopped=0,
        end="last rung" if is_rung else "full budget",
    )
    return *found, last


def _end(plan: Mapping[str, Any]) -> int:
    """Return the training rows after which a trial of the search ends."""
    return int(plan["rungs"][-1] if plan.get("ends_at_last_rung") else plan["budget"])


def _num_reached(rows: Iterable[Row], examples: int) -> int:
    return sum(int(row["examples"]) >= examples for row in rows)


def _was_stopped(row: Row, rung: int, end: int) -> bool:
    return row["stopped_by"] == StoppedBy.SCHEDULER and rung <= int(row["examples"]) < end


def _budget(record: Mapping[str, Any], rows: Sequence[Row], plan: Mapping[str, Any]) -> Budget:
    trained, budget = record["examples_trained"], plan["budget"]
    early = [row for row in rows if row["stopped_by"] in (StoppedBy.SCHEDULER, StoppedBy.PATIENCE)]
    return Budget(
        trained=trained["search"],
        saved=sum(max(_end(plan) - int(row["examples"]), 0) for row in early),
        full=budget * record["trials"]["requested"],
        confirmation=trained["confirmation"],
    )


def _mean_rows_per_second(record: Mapping[str, Any]) -> float | None:
    """Return the rows per second of a search that has ended, including process start-up."""
    trained = sum(record.get("examples_trained", {}).values())
    has_ended = record["status"] != SearchStatus.RUNNING and record["seconds"]
    return trained / record["seconds"] if has_ended and trained else None


def _version(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
