"""How an overview is put into words: the same on every terminal."""

import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from results.overview import WAITING, Best, Budget, Overview, RungCounts, RunningTrial
from results.run import Run
from results.trial_states import SearchStatus, Status
from training.cli import is_uri

ENDED_FIRST = (
    *(Status.COMPLETED, Status.STOPPED, Status.FAILED, Status.DIVERGED, Status.COLLAPSED),
    *(Status.RUNNING, WAITING),
)
"""States of trials, in the order in which they are told."""
RUNG_COLUMNS = ("reached", "went on", "stopped")
_ROWS_ARE_MANY = 100


def describe(overview: Overview, now: datetime, *, max_running: int | None = None) -> Iterator[str]:
    """Every line of the overview, its subject in front.

    Args:
        overview: of the search.
        now: with a time zone.
        max_running: running trials that get a line of their own; None: all.
    """
    yield f"run       {overview.location}"
    elapsed = format_duration(elapsed_seconds(overview, now))
    yield f"status    {describe_status(overview)}, {elapsed}"
    yield f"trials    {describe_trials(overview)}"
    if overview.confirmed:
        yield f"confirm   {describe_confirmations(overview)}"
    yield from _best_lines(overview.best, overview.score_label)
    for rung in overview.rungs:
        yield f"rung      {describe_rung(rung, is_last=rung is overview.rungs[-1])}"
    if overview.budget:
        yield f"budget    {'; '.join(describe_budget(overview.budget))}"
    if how := [
        part for part in (describe_pace(overview), describe_time_left(overview, now)) if part
    ]:
        yield f"pace      {', '.join(how)}"
    shown = overview.running[:max_running]
    yield from (f"running   {describe_running(trial, overview)}" for trial in shown)
    yield from (f"worker    {found}" for found in filter(None, map(_worker, shown)))
    yield from (f"event     {event.at} {event.text}" for event in overview.events)


def progress_line(overview: Overview, now: datetime, *, with_parameters: bool = False) -> str:
    """How far it is, in one line.

    Args:
        overview: of the search.
        now: with a time zone.
        with_parameters: whether those of the best are told.
    """
    parts = [f"{format_duration(elapsed_seconds(overview, now))}: {describe_trials(overview)}"]
    if overview.confirmed:
        parts.append(f"confirmation {describe_confirmations(overview)}")
    if best := overview.best:
        values = f" {describe_parameters(best)}," if with_parameters else ""
        lead = "" if best.lead is None else f" ({best.lead * 100:+.2f} points)"
        parts.append(f"best {best.trial_id}{values} {best.score:.4f}{lead}")
    return "; ".join(
        part
        for part in (*parts, describe_pace(overview), describe_time_left(overview, now))
        if part
    )


def describe_status(overview: Overview) -> str:
    """The status, its phase while it runs."""
    if overview.status == SearchStatus.RUNNING and not overview.is_alive:
        return "running when its process was lost (tuning.search --resume goes on)"
    if overview.status == SearchStatus.RUNNING and is_uri(overview.location):
        return "running when it was last mirrored"
    return f"running, {overview.phase}" if overview.phase else overview.status


def describe_trials(overview: Overview) -> str:
    """Trials of the search by state."""
    counted = describe_counts(overview.searched)
    return f"{overview.num_started} of {overview.requested} begun" + (counted and f": {counted}")


def describe_confirmations(overview: Overview) -> str:
    """Trainings of the confirmation by state."""
    begun = sum(overview.confirmed.values()) - overview.confirmed.get(WAITING, 0)
    return f"{begun} begun: {describe_counts(overview.confirmed)}"


def describe_counts(states: Mapping[str, int]) -> str:
    """How many there are of each state."""
    return ", ".join(f"{states[name]} {name}" for name in ENDED_FIRST if name in states)


def describe_parameters(best: Best) -> str:
    """The searched values, in one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in best.parameters.items())


def describe_score(best: Best, label: str) -> str:
    """The score, and where it comes from if not from the search itself."""
    return f"{label} {best.score:.4f}" + (" on fresh draws" if best.is_confirmed else "")


def describe_lead(best: Best) -> str:
    """The best held against trial 0."""
    if best.default is None:
        return "trial 0 has no score yet"
    if best.lead is None:
        return "this is trial 0: nothing better has been found"
    return f"{best.lead * 100:+.2f} points over trial 0 ({best.default:.4f})"


def describe_rung(level: RungCounts, *, is_last: bool) -> str:
    """What came to a rung, and went on."""
    if is_last:
        return f"{level.epochs:.4g} epochs, the full budget: {level.reached} reached"
    on = level.reached - level.stopped
    return (
        f"{level.epochs:.4g} epochs: {level.reached} reached, {on} went on,"
        f" {level.stopped} stopped there"
    )


def describe_budget(budget: Budget) -> Iterator[str]:
    """Rows trained, and those that early stopping saved."""
    share = budget.trained / budget.full if budget.full else 0.0
    yield f"{budget.trained:,} trained, {share:.0%} of full trainings of all trials"
    if budget.saved:
        saved = budget.saved / (budget.trained + budget.saved)
        yield f"{budget.saved:,} saved by early stopping ({saved:.0%})"
    if budget.confirmation:
        yield f"{budget.confirmation:,} more trained in the confirmation"


def describe_pace(overview: Overview) -> str:
    """Rows a second, and how much of the time budget is used; nothing where neither is known."""
    parts = []
    if overview.rows_per_second:
        digits = ".0f" if overview.rows_per_second >= _ROWS_ARE_MANY else ".3g"
        mean = "" if overview.at else " on average"
        parts.append(f"{overview.rows_per_second:,{digits}} rows a second{mean}")
    if overview.time_budget_s:
        share = overview.seconds / overview.time_budget_s
        parts.append(f"{share:.0%} of {format_duration(overview.time_budget_s)} used")
    return ", ".join(parts)


def describe_time_left(overview: Overview, now: datetime) -> str:
    """Return the expected time left, as in `about 20 min left`; empty where it is not known."""
    if overview.seconds_left is None:
        return ""
    seconds = overview.seconds_left - (elapsed_seconds(overview, now) - overview.seconds)
    return (
        f"about {format_duration(_rounded(seconds))} left"
        if seconds > 0
        else "longer than expected"
    )


def _rounded(seconds: float) -> float:
    """Round a forecast as a person would: more digits would claim to know more."""
    for limit, step in ((60, 10), (600, 60), (3600, 300), (36000, 1800)):
        if seconds < limit:
            return max(round(seconds / step), 1) * step
    return round(seconds / 3600) * 3600


def elapsed_seconds(overview: Overview, now: datetime) -> float:
    """Seconds that the search has taken by `now`."""
    if overview.at is None:
        return overview.seconds
    return overview.seconds + max((now - overview.at).total_seconds(), 0.0)


def format_duration(seconds: float) -> str:
    """A time in two units at most: `45 s`, `2 min 05 s`, `3 h 20 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        rest = f" {whole % 60:02d} s" if whole % 60 else ""
        return f"{whole // 60} min{rest}"
    rest = f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else ""
    return f"{whole // 3600} h{rest}"


def describe_running(trial: RunningTrial, overview: Overview) -> str:
    """How far a running trial of the overview is."""
    epochs, label = overview.epochs, overview.score_label
    far = f"{trial.epochs:.2f}" + (f" of {epochs:.4g}" if epochs else "") + " epochs"
    return f"{trial.trial_id} {far}" + (
        "" if trial.score is None else f", {label} {trial.score:.4f}"
    )


def _worker(trial: RunningTrial) -> str:
    if (row := trial.worker) is None:
        return ""
    return (
        f"{row['trial_id']} on {row['node']} ({row['address']}), process"
        f" {row['process']}, actor {row['actor_id']}, since {row['at']}"
    )


def _best_lines(best: Best | None, label: str) -> Iterator[str]:
    if best is None:
        yield "best      no trial has a score at the full budget yet"
        return
    yield f"best      {best.trial_id} ({describe_parameters(best)}): {describe_score(best, label)}"
    if best.default is None:
        yield "default   has no score yet"
    elif best.lead is None:
        yield "default   nothing better has been found"
    else:
        lead = best.lead * 100
        yield f"default   {label} {best.default:.4f}; the best leads by {lead:+.2f} points"


def next_step(
    run: Run, record: Mapping[str, Any], *, is_alive: bool, uri: str | None = None
) -> str:
    """The command that takes a run further, after `Next: `.

    Args:
        run: on this machine.
        record: content of its `search.json`.
        is_alive: whether a process is searching.
        uri: of what `run` is a copy, if it is one.
    """
    place = uri or os.fspath(run.directory)
    if is_alive:
        return _command("tuning.status", "--run", place, "--follow")
    if record["status"] in (SearchStatus.RUNNING, SearchStatus.INTERRUPTED):
        return resume_command(run) if uri is None else _command("tuning.search", "--resume", uri)
    if record["status"] == SearchStatus.ABORTED:
        return f"correct what {run.log} says, then {search_again_command(run)}"
    model = newest_model(run)
    if model is None:
        return _command("evaluation.final", "--run", place)
    return predict_command(model)


def resume_command(run: Run) -> str:
    """The command that goes on with a search."""
    where = ("--name", run.directory.name, "--output.directory", os.fspath(run.directory.parent))
    return _command("tuning.search", "--resume", *where)


def predict_command(model: str) -> str:
    """The command that classifies with a model, a directory."""
    return f"{_command('evaluation.predict', '--model', model)} --input FILE --output -"


def newest_model(run: Run) -> str | None:
    """Directory of the model that was tested last; None: none was yet."""
    reports = run.newest_reports()
    return None if reports is None else os.fspath(reports.with_name("model"))


def search_again_command(run: Run) -> str:
    """The command that repeats a search under a name of its own."""
    return f"{_command('tuning.search', '--config', os.fspath(run.config))} --name NAME"


def _command(module: str, *arguments: str) -> str:
    return shlex.join(["python", "-m", module, *arguments])
