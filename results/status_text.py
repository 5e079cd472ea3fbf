"""The status of a search in words, the same on every terminal, and the command to run next."""

import os
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from results.encoder_choice import recommended_encoder
from results.overview import (
    AT_LAST_RUNG,
    WAITING,
    Best,
    Budget,
    Overview,
    RungCounts,
    RunningTrial,
)
from results.run import BASELINE, Run
from results.trial_states import SearchStatus, Status
from training.cli import is_uri, printable

STATE_NAMES: Mapping[str, str] = {
    Status.COMPLETED: "completed",
    AT_LAST_RUNG: "ended at the last rung",
    Status.STOPPED: "stopped early",
    Status.FAILED: "failed",
    Status.DIVERGED: "diverged",
    Status.COLLAPSED: "collapsed",
    Status.RUNNING: "running",
    WAITING: "waiting",
}
"""Name of each state of a trial, for people; in the order in which states are listed."""
NO_SCORE = "no trial has ended with a score yet"
RUNG_COLUMNS = ("reached", "promoted", "stopped early")
_MANY_ROWS = 100


def describe(overview: Overview, now: datetime, *, max_running: int | None = None) -> Iterator[str]:
    """Describe the search in lines, each with its subject in front.

    Args:
        overview: of the search.
        now: current time, with a time zone.
        max_running: maximum of running trials with a line of their own; None: no maximum.
    """
    yield f"run       {overview.location}"
    elapsed = format_duration(elapsed_seconds(overview, now))
    yield f"status    {describe_status(overview)}, {elapsed}"
    yield f"trials    {describe_trials(overview)}"
    if overview.confirmed:
        yield f"confirm   {describe_confirmations(overview)}"
    yield from _describe_best(overview.best, overview.score_label)
    if overview.baseline:
        yield f"to beat   {describe_baseline(overview.baseline, overview.score_label)}"
    for rung in overview.rungs:
        yield f"rung      {describe_rung(rung)}"
    if overview.budget:
        yield f"budget    {'; '.join(describe_budget(overview.budget))}"
    if pace := ", ".join(_describe_times(overview, now)):
        yield f"pace      {pace}"
    running = overview.running[:max_running]
    yield from (f"running   {describe_running(trial, overview)}" for trial in running)
    yield from (f"worker    {line}" for line in filter(None, map(_describe_worker, running)))
    yield from (f"event     {event.at} {event.text}" for event in overview.events)


def progress_line(overview: Overview, now: datetime, *, with_parameters: bool = False) -> str:
    """Describe the progress of the search in one line.

    Args:
        overview: of the search.
        now: current time, with a time zone.
        with_parameters: whether the line contains the parameters of the best trial.
    """
    parts = [f"{format_duration(elapsed_seconds(overview, now))}: {describe_trials(overview)}"]
    if overview.confirmed:
        parts.append(f"confirmation {describe_confirmations(overview)}")
    if best := overview.best:
        values = f" {best.parameters}," if with_parameters else ""
        on = "on replicates" if best.is_confirmed else "in the search"
        lead = "" if best.lead is None else f" ({best.lead * 100:+.2f} points to the default {on})"
        score = f"{best.score:.4f}" + (f" {best.taken}" if best.taken else "")
        parts.append(f"best {best.trial_id}{values} {score}{lead}")
    return "; ".join((*parts, *_describe_times(overview, now)))


def describe_status(overview: Overview) -> str:
    """Describe the status, with the phase of a running search."""
    if overview.status == SearchStatus.RUNNING and not overview.is_alive:
        return "interrupted: its process was lost (tuning.search --resume continues it)"
    if overview.status == SearchStatus.RUNNING and is_uri(overview.location):
        return "running when it was last mirrored"
    return f"running, {overview.phase}" if overview.phase else overview.status


def describe_trials(overview: Overview) -> str:
    """Count the trials of the search by state."""
    counts = _count_states(overview.searched, STATE_NAMES)
    return f"{overview.num_started} of {overview.requested} started" + (counts and f": {counts}")


def describe_confirmations(overview: Overview) -> str:
    """Count the trials of the confirmation by state."""
    started = sum(overview.confirmed.values()) - overview.confirmed.get(WAITING, 0)
    # A finalist that is dropped, or a decision, stops trainings that had started ahead of it.
    names = {**STATE_NAMES, Status.STOPPED: "stopped"}
    return f"{started} started: {_count_states(overview.confirmed, names)}"


def _count_states(counts: Mapping[str, int], names: Mapping[str, str]) -> str:
    return ", ".join(f"{counts[key]} {name}" for key, name in names.items() if key in counts)


def describe_score(best: Best, label: str) -> str:
    """Describe the score, and whether it is a mean over replicates or of a shorter training."""
    origin = "on replicates" if best.is_confirmed else best.taken
    return f"{label} {best.score:.4f}" + (f" {origin}" if origin else "")


def describe_lead(best: Best) -> str:
    """Compare the best trial with the default configuration, trial 0."""
    if best.is_default:
        return "this is the default: nothing better has been found"
    if best.lead is None:
        return "the default has no comparable score yet"
    return f"{best.lead * 100:+.2f} points over the default ({best.default:.4f})"


def describe_baseline(baseline: Mapping[str, Any], label: str) -> str:
    """Describe `baseline` of a record: its score on the validation rows and its name."""
    return f"{label} {baseline['score']:.4f} by {printable(str(baseline['name']))}"


def _describe_best(best: Best | None, label: str) -> Iterator[str]:
    if best is None:
        yield f"best      {NO_SCORE}"
        return
    yield f"best      {best.trial_id} ({best.parameters}): {describe_score(best, label)}"
    if best.is_default:
        yield "default   nothing better has been found"
    elif best.lead is None:
        yield "default   has no comparable score yet"
    else:
        lead = best.lead * 100
        yield f"default   {label} {best.default:.4f}; the best leads by {lead:+.2f} points"


def describe_rung(rung: RungCounts) -> str:
    """Count the trials that reached a rung, were promoted and were stopped there."""
    epochs = f"{rung.epochs:.4g} epoch{'' if rung.epochs == 1 else 's'}"
    if rung.end:
        return f"{epochs}, the {rung.end}: {rung.reached} reached"
    return (
        f"{epochs}: {rung.reached} reached, {rung.reached - rung.stopped} promoted,"
        f" {rung.stopped} stopped early"
    )


def describe_budget(budget: Budget) -> Iterator[str]:
    """Describe how many rows were trained, and how many early stopping saved."""
    share = budget.trained / budget.full if budget.full else 0.0
    yield f"{budget.trained:,} trained, {share:.0%} of the full budget of all trials"
    if budget.saved:
        saved = budget.saved / (budget.trained + budget.saved)
        yield f"{budget.saved:,} saved by early stopping ({saved:.0%})"
    if budget.confirmation:
        yield f"{budget.confirmation:,} more trained in the confirmation"


def _describe_times(overview: Overview, now: datetime) -> list[str]:
    return [text for text in (describe_pace(overview), describe_time_left(overview, now)) if text]


def describe_pace(overview: Overview) -> str:
    """Describe rows per second and the used share of the time budget; empty if both are unknown."""
    parts = []
    if overview.rows_per_second:
        digits = ".0f" if overview.rows_per_second >= _MANY_ROWS else ".3g"
        mean = "" if overview.at else " on average"
        parts.append(f"{overview.rows_per_second:,{digits}} rows a second{mean}")
    if overview.time_budget_s:
        share = overview.seconds / overview.time_budget_s
        parts.append(f"{share:.0%} of the {format_duration(overview.time_budget_s)} budget used")
    return ", ".join(parts)


def describe_time_left(overview: Overview, now: datetime) -> str:
    """Describe the expected time left, as in `about 20 min left`; empty if it is unknown."""
    if overview.seconds_left is None:
        return ""
    seconds = overview.seconds_left - (elapsed_seconds(overview, now) - overview.seconds)
    if seconds <= 0:
        return "longer than expected"
    return f"about {format_duration(_round_forecast(seconds))} left"


def _round_forecast(seconds: float) -> float:
    """Round as a person would: more digits would pretend a precision that a forecast lacks."""
    for limit, step in ((60, 10), (600, 60), (3600, 300), (36000, 1800)):
        if seconds < limit:
            return max(round(seconds / step), 1) * step
    return round(seconds / 3600) * 3600


def compare_with_plan(planned_s: float, taken_s: float) -> str:
    """Compare seconds: `planned 95 s, took 102 s (+7 %)`."""
    return (
        f"planned {planned_s:.0f} s, took {taken_s:.0f} s"
        f" ({100 * (taken_s / max(planned_s, 1e-9) - 1):+.0f} %)"
    )


def elapsed_seconds(overview: Overview, now: datetime) -> float:
    """Return the duration of the search until `now`."""
    if overview.at is None:
        return overview.seconds
    return overview.seconds + max((now - overview.at).total_seconds(), 0.0)


def format_duration(seconds: float) -> str:
    """Format a duration in at most two units: `45 s`, `2 min 05 s`, `3 h 20 min`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        rest = f" {whole % 60:02d} s" if whole % 60 else ""
        return f"{whole // 60} min{rest}"
    rest = f" {whole % 3600 // 60:02d} min" if whole % 3600 >= 60 else ""
    return f"{whole // 3600} h{rest}"


def describe_running(trial: RunningTrial, overview: Overview) -> str:
    """Describe the progress of a running trial of the overview."""
    epochs, of_search = overview.epochs, overview.epochs_of_search
    if of_search and trial.epochs <= of_search and not trial.is_confirmation:
        epochs = of_search
    progress = f"{trial.epochs:.2f}" + (f" of {epochs:.4g}" if epochs else "") + " epochs"
    score = "" if trial.score is None else f", {overview.score_label} {trial.score:.4f}"
    return f"{trial.trial_id} {progress}{score}"


def _describe_worker(trial: RunningTrial) -> str:
    if (row := trial.worker) is None:
        return ""
    return (
        f"{row['trial_id']} on {row['node']} ({row['address']}), process"
        f" {row['process']}, actor {row['actor_id']}, since {row['at']}"
    )


def next_step(
    run: Run, record: Mapping[str, Any], *, is_alive: bool, uri: str | None = None
) -> str:
    """Return the command to run next with a run.

    Args:
        run: on this machine.
        record: content of its `search.json`.
        is_alive: whether a process is running the search.
        uri: URI of the run that `run` is a copy of; None: it is no copy.
    """
    location = uri or os.fspath(run.directory)
    if is_alive:
        return _command("tuning.status", "--run", location, "--follow")
    if record["status"] in (SearchStatus.RUNNING, SearchStatus.INTERRUPTED):
        return resume_command(run) if uri is None else _command("tuning.search", "--resume", uri)
    if record["status"] == SearchStatus.ABORTED:
        return f"fix the errors in {run.log}, then {search_again_command(run)}"
    model = newest_model(run)
    if model is None:
        advice = recommended_encoder(record) if "objective" in record else None
        return final_command(location, encoder=advice.short_name if advice else None)
    return predict_command(model)


def resume_command(run: Run) -> str:
    """Return the command that resumes a search."""
    where = ("--name", run.directory.name, "--output.directory", os.fspath(run.directory.parent))
    return _command("tuning.search", "--resume", *where)


def final_command(location: str, *, encoder: str | None = None) -> str:
    """Return the command that evaluates the winner of a run, a directory or URI.

    Args:
        location: of the run.
        encoder: whose best candidate is evaluated instead; None: the winner.
    """
    chosen = () if encoder is None else ("--encoder", encoder)
    return _command("evaluation.final", "--run", location, *chosen)


def publish_command(model: str) -> str:
    """Return the command that uploads a model, a directory, to the Hub."""
    return f"{_command('evaluation.publish', '--model', model)} --repo NAME"


def predict_command(model: str) -> str:
    """Return the command that classifies texts with a model, a directory."""
    return f"{_command('evaluation.predict', '--model', model)} --input FILE --output -"


def newest_model(run: Run) -> str | None:
    """Return the directory of the model that was last evaluated on the test set; None: none was."""
    reports = run.newest_reports()
    return None if reports is None else os.fspath(reports.with_name("model"))


def newest_baseline(run: Run) -> str | None:
    """Return the directory of the baseline of the last evaluation on the test set; None: no such.

    `predict_command` takes it as it takes a model. Evaluations of older versions shipped none.
    """
    reports = run.newest_reports()
    baseline = None if reports is None else reports.with_name(BASELINE)
    return os.fspath(baseline) if baseline is not None and baseline.is_dir() else None


def search_again_command(run: Run) -> str:
    """Return the command that repeats a search under another name."""
    return f"{_command('tuning.search', '--config', os.fspath(run.config))} --name NAME"


def _command(module: str, *arguments: str) -> str:
    return shlex.join(["python", "-m", module, *arguments])
