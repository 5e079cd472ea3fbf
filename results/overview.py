"""What a search is doing, in one value made of its own files: for its terminal and any other."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from results.errors import RunError
from results.run import Run
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from training.cli import printable

_LAST_BYTES = 64 * 1024
"""Of the log, that are looked through."""

_LINE = re.compile(
    r"\d{4}-\d\d-\d\d (?P<at>\d\d:\d\d:\d\d),\d+ (?P<level>INFO|WARNING|ERROR) [\w.]+: (?P<text>.+)"
)
_OF_TRIAL = re.compile(
    r"(?:trial )?t\d{4,} (completed|stopped|failed|diverged|collapsed|resumed|lost its process)\b"
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """The end of a trial, its going on, or a warning."""

    at: str
    """HH:MM:SS on the clock of the machine that searched."""
    text: str
    is_warning: bool


def read_events(log: Path, num: int) -> tuple[Event, ...]:
    """The last `num` events of a log, the newest last; none where there is no log."""
    if not log.is_file():
        return ()
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _LAST_BYTES, 0))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    return tuple(events_of(lines))[-num:]


def events_of(lines: Iterable[str]) -> Iterator[Event]:
    """The events among the lines of a log."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        is_warning = found["level"] != "INFO"
        if is_warning or _OF_TRIAL.match(found["text"]):
            yield Event(at=found["at"], text=printable(found["text"]), is_warning=is_warning)


_MOST_LEVELS = 6
"""Rows of the table of rungs; of more, neighbours stand together."""
_NUM_EVENTS = 5

WAITING = "waiting"
"""Shown of a training that has a row and has not begun; no file holds it."""

Row = Mapping[str, str]
"""A row of `trials.csv` or `workers.csv`, cells as text."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The configuration that would win now, and what it is worth."""

    trial_id: str
    parameters: Mapping[str, float]
    score: float
    is_confirmed: bool
    """Whether the score is a mean of fresh draws."""
    lead: float | None
    """Over trial 0; None if it has no score, or is the best itself."""
    default: float | None
    """Trial 0's score."""


@dataclass(frozen=True, kw_only=True)
class RungCounts:
    """A rung, or a few neighbours: how many trials of the search came, and how many ended there."""

    epochs: float
    """Of the last of them."""
    reached: int
    stopped: int


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """One that a worker trains at the moment."""

    trial_id: str
    epochs: float
    score: float | None
    """Of its last evaluation."""
    worker: Row | None
    """Where it runs, a row of `workers.csv`."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Training rows of the search: what early stopping saved of them."""

    trained: int
    saved: int
    """That stopped trials had left."""
    full: int
    """That full trainings of all trials asked for would cost."""
    confirmation: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A search at one moment; None stands for what is not known."""

    location: str
    """Directory or URI."""
    status: str
    is_alive: bool
    score_label: str
    """What scores are, for people."""
    phase: str | None
    at: datetime | None
    """When this was written; None of a search that has ended."""
    seconds: float
    """That it had taken then."""
    requested: int
    searched: Mapping[str, int]
    """Trials of the search by state."""
    confirmed: Mapping[str, int]
    """Trainings of the confirmation by state; `waiting` ones have not begun."""
    epochs: float | None
    """Of a full training."""
    running: Sequence[RunningTrial]
    rungs: Sequence[RungCounts]
    best: Best | None
    budget: Budget | None
    rows_per_second: float | None
    seconds_left: float | None
    time_budget_s: float | None
    events: Sequence[Event]

    @property
    def num_started(self) -> int:
        """Trials of the search that have begun."""
        return sum(self.searched.values())


def read_overview(run: Run, *, is_alive: bool, location: str | None = None) -> Overview:
    """The overview that the files of a run give.

    Args:
        run: on this machine.
        is_alive: whether a process is writing it, as far as is known.
        location: what it is a copy of, if it is one.

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
    """The overview of a record and the rows of its tables.

    Args:
        record: content of `search.json`.
        rows: of `trials.csv`.
        workers: of `workers.csv`.
        events: the last ones.
        location: directory or URI.
        is_alive: whether a process is writing them.
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
        epochs=plan["budget"] / plan["rows_per_epoch"] if plan else None,
        running=_running(rows, waiting, workers) if is_alive else (),
        rungs=_count_rungs(searched, plan) if plan else (),
        best=_best(record),
        budget=_budget(record, searched, plan) if plan else None,
        rows_per_second=progress.get("rows_per_second") or _mean_pace(record),
        seconds_left=_seconds_left(progress),
        time_budget_s=progress.get("time_budget_s"),
        events=tuple(events),
    )


def _seconds_left(progress: Mapping[str, Any]) -> float | None:
    """Return the forecast of a record; of the range of an older version, its middle."""
    left: float | list[float] | None = progress.get("seconds_left")
    return sum(left) / len(left) if isinstance(left, list) else left


def _count(rows: Iterable[Row], waiting: set[str]) -> dict[str, int]:
    states = (WAITING if row["trial_id"] in waiting else row["status"] for row in rows)
    return dict(sorted(Counter(states).items()))


def _running(
    rows: Iterable[Row], waiting: set[str], workers: Iterable[Row]
) -> tuple[RunningTrial, ...]:
    places = {worker["trial_id"]: worker for worker in workers}  # the last of each
    return tuple(
        RunningTrial(
            trial_id=row["trial_id"],
            epochs=float(row["epochs"] or 0),
            score=float(row["score"]) if row["score"] else None,
            worker=places.get(row["trial_id"]),
        )
        for row in rows
        if row["status"] == Status.RUNNING and row["trial_id"] not in waiting
    )


def _best(record: Mapping[str, Any]) -> Best | None:
    best, default = record["best"], record["default"] or {}
    if best is None:
        return None
    is_default = best["trial_id"] == default.get("trial_id")
    other = default.get("score")
    return Best(
        trial_id=best["trial_id"],
        parameters=best["parameters"],
        score=best["score"],
        is_confirmed=best["score"] != best.get("search_score", best["score"]),
        lead=None if other is None or is_default else best["score"] - other,
        default=other,
    )


def _count_rungs(rows: Sequence[Row], plan: Mapping[str, Any]) -> tuple[RungCounts, ...]:
    """Rungs from the first to the last, then the full budget."""
    rungs, ends = plan["rungs"], [*plan["rungs"][1:], plan["budget"]]
    size = -(-len(rungs) // _MOST_LEVELS) or 1
    found = []
    for start in range(0, len(rungs), size):
        group = range(start, min(start + size, len(rungs)))
        stopped = sum(_was_stopped(row, rungs[k], ends[k]) for row in rows for k in group)
        reached = _num_reached(rows, rungs[start])
        epochs = rungs[group[-1]] / plan["rows_per_epoch"]
        found.append(RungCounts(epochs=epochs, reached=reached, stopped=stopped))
    whole = plan["budget"] / plan["rows_per_epoch"]
    return (*found, RungCounts(epochs=whole, reached=_num_reached(rows, plan["budget"]), stopped=0))


def _num_reached(rows: Iterable[Row], level: int) -> int:
    return sum(int(row["examples"]) >= level for row in rows)


def _was_stopped(row: Row, rung: int, end: int) -> bool:
    return row["stopped_by"] == StoppedBy.SCHEDULER and rung <= int(row["examples"]) < end


def _budget(record: Mapping[str, Any], rows: Sequence[Row], plan: Mapping[str, Any]) -> Budget:
    trained, whole = record["examples_trained"], plan["budget"]
    early = [row for row in rows if row["stopped_by"] in (StoppedBy.SCHEDULER, StoppedBy.PATIENCE)]
    return Budget(
        trained=trained["search"],
        saved=sum(max(whole - int(row["examples"]), 0) for row in early),
        full=whole * record["trials"]["requested"],
        confirmation=trained["confirmation"],
    )


def _mean_pace(record: Mapping[str, Any]) -> float | None:
    """Of a search that has ended: rows over the whole time, starts of processes included."""
    trained = sum(record.get("examples_trained", {}).values())
    has_ended = record["status"] != SearchStatus.RUNNING and record["seconds"]
    return trained / record["seconds"] if has_ended and trained else None


Version = tuple[int, int]


@dataclass(kw_only=True)
class WatchedRun:
    """A run that is looked at again and again."""

    run: Run
    is_alive: Callable[[], bool] = lambda: True
    """Whether a process is writing it."""
    _seen: object = field(default=None, init=False)
    _overview: Overview | None = field(default=None, init=False)

    def read(self) -> Overview | None:
        """The overview; what was known before while the files cannot be read."""
        now = (_version(self.run.record), _version(self.run.log), self.is_alive())
        if now != self._seen:
            try:
                self._overview = read_overview(self.run, is_alive=now[2])
                self._seen = now
            except (RunError, OSError, ValueError, KeyError):
                pass  # whoever watches is not the one to end a search
        return self._overview


def _version(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
