"""`search.json` made again from the run's other files, where it was lost or damaged."""

from collections.abc import Sequence
from datetime import UTC, datetime

import torch

from results.errors import RunError
from results.files import write_text
from results.run import Run
from training.data import PreparedData, prepare
from training.options import read_yaml
from training.trained_on import known_to
from tuning.config import Configuration
from tuning.confirmation import Confirmation
from tuning.proposers import num_requested
from tuning.record import describe_search, is_repeatable
from tuning.recorder import Recorder, now
from tuning.resume import recall_trials
from tuning.run_checks import check_same_split
from tuning.run_search import close_completed, describe_end, describe_search_environment
from tuning.rungs import plan_evaluations
from tuning.start import build
from tuning.trials import Trial


class _UnfinishedError(Exception):
    """The confirmation still has something to train."""


def rebuild(run: Run) -> str:
    """Write `search.json` anew, and for a search that had come to its end `best.yaml` and report.

    Trials and scores come from `trials.csv` and `curves.csv`, the decisions from them and
    `config.yaml`, what is said of the data from reading them again. Versions and devices are those
    of the machine that rebuilds; times are those of the files.

    Returns:
        The status that the files speak of: completed, aborted or interrupted.

    Raises:
        RunError: a file is missing or does not fit the others, or another process is writing them.
        InputError: `config.yaml` or the data cannot be read.
    """
    for path in (run.config, run.trials, run.curves):
        if not path.exists():
            raise RunError(
                f"run {run.directory}: {path.name} is missing, without which search.json cannot be"
                " made again; restore the file, or search again"
            )
    with run.held():
        configuration = build(read_yaml(run.config))
        data = prepare(configuration.data, seen=known_to(configuration.model))
        check_same_split(run, data)
        if not run.splits.exists():
            write_text(run.splits, data.assignment.to_csv(index=False, lineterminator="\n"))
        recorder = _recorder(run, configuration, data)
        status = _status(recorder, data)
        if status == "completed":
            close_completed(recorder)
            describe_end(run)
        else:
            recorder.finish(status)
    return status


def _recorder(run: Run, configuration: Configuration, data: PreparedData) -> Recorder:
    num_rows = len(data.train.labels)
    plan = plan_evaluations(num_rows, configuration.training.epochs, configuration.search)
    began, ended = (path.stat().st_mtime for path in (run.splits, run.curves))
    return Recorder(
        run=run,
        configuration=configuration,
        facts={
            "command": f"python -m tuning.search --config {run.config}",
            "repeatable": is_repeatable(configuration, has_gpu=torch.cuda.is_available()),
            "data": data.summary.as_record(),
            "search": describe_search(configuration, plan, num_rows),
            "environment": describe_search_environment(configuration),
            "finished_at": _utc(ended),
            "seconds": round(max(ended - began, 0.0), 3),
            "rebuilt_at": now(),
        },
        requested=num_requested(configuration.search, configuration.training),
        trials=recall_trials(run, configuration, reopen=False),
        started_at=_utc(began),
    )


def _status(recorder: Recorder, data: PreparedData) -> str:
    searched = [trial for trial in recorder.trials if trial.source != "confirm"]
    ran_out_of_time = any(trial.stopped_by == "end of search" for trial in searched)
    is_whole = len(searched) >= recorder.requested or ran_out_of_time
    if not is_whole or any(trial.status == "running" for trial in searched):
        return "interrupted"
    if recorder.record()["best"] is None:
        return "aborted"
    return "completed" if _is_confirmed(recorder, data) else "interrupted"


def _is_confirmed(recorder: Recorder, data: PreparedData) -> bool:
    """Go through the confirmation's decisions again; whether nothing is left to train."""
    if not recorder.configuration.search.confirm_replicates:
        return True
    recorder.confirmation = Confirmation(
        configuration=recorder.configuration,
        trials=recorder.trials,
        validation_share=len(data.validation.labels) / len(data.train.labels),
        run=_refuse,
    )
    known = list(recorder.trials)
    try:
        recorder.confirmation.confirm()
    except _UnfinishedError:
        recorder.trials[:] = known  # without those that were only planned
        return False
    return True


def _refuse(_trials: Sequence[Trial]) -> None:
    raise _UnfinishedError


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
