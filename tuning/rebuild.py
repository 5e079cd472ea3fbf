"""`search.json` made again from the run's other files, where it was lost or damaged."""

from datetime import UTC, datetime

import torch

from results.errors import RunError
from results.files import write_text
from results.run import Run
from results.trial_states import SearchStatus
from training.data import PreparedData, prepare
from training.options import read_yaml
from training.trained_on import known_to
from tuning.announcements import announce_end
from tuning.config import Configuration
from tuning.decisions import Phase
from tuning.facts import describe_facts
from tuning.policy import Policy, make_policy
from tuning.resume import recall_trials
from tuning.run_checks import check_same_split
from tuning.run_files import RunFiles, now
from tuning.rungs import plan_evaluations
from tuning.start import build
from tuning.trials import TrialStore


def rebuild(run: Run) -> SearchStatus:
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
        store = recall_trials(run, configuration, reopen=False)
        known = {trial.trial_id for trial in store}
        files, status = _files(run, configuration, data, store)
        store.keep_only(known)  # and not what a resume would start next
        files.closed(status)
        if status == SearchStatus.COMPLETED:
            announce_end(run)
    return status


def _files(
    run: Run, configuration: Configuration, data: PreparedData, store: TrialStore
) -> tuple[RunFiles, SearchStatus]:
    """What writes the files anew, and the status that the trials speak of."""
    num_rows = len(data.train.labels)
    plan = plan_evaluations(num_rows, configuration.training.epochs, configuration.search)
    policy = make_policy(
        configuration,
        plan,
        num_rows=num_rows,
        num_validation_rows=len(data.validation.labels),
        store=store,
    )
    began, ended = (path.stat().st_mtime for path in (run.splits, run.curves))
    facts = describe_facts(
        configuration,
        plan,
        num_rows=num_rows,
        summary=data.summary,
        command=f"python -m tuning.search --config {run.config}",
        has_gpu=torch.cuda.is_available(),
    )
    times = {
        "finished_at": _utc(ended),
        "seconds": round(max(ended - began, 0.0), 3),
        "rebuilt_at": now(),
    }
    files = RunFiles(
        run,
        configuration=configuration,
        policy=policy,
        facts={**facts, **times},
        memory_limits={},
        started_at=_utc(began),
    )
    return files, _status(policy)


def _status(policy: Policy) -> SearchStatus:
    if policy.phase != Phase.FINISHED:
        return SearchStatus.INTERRUPTED
    return SearchStatus.COMPLETED if policy.has_winner else SearchStatus.ABORTED


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
