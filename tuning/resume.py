"""What an earlier start of the same search left: read from the run's own files."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import torch

from results.errors import RunError
from results.files import write_text
from results.run import Run
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from training.data import PreparedData, prepare
from training.metrics import Evaluation
from training.options import read_yaml
from training.trained_on import known_to
from tuning.config import Configuration
from tuning.log_lines import announce_end
from tuning.policy import Policy, make_policy
from tuning.record import describe_facts
from tuning.run_checks import check_same_split
from tuning.run_files import RunFiles, now
from tuning.rungs import plan_evaluations
from tuning.space import Parameters, with_parameters
from tuning.start import build
from tuning.trials import Phase, Trial, TrialStore, evaluation_from_row

_TRIAL_ID = re.compile(r"t[0-9]{4,9}")


def recall_trials(run: Run, configuration: Configuration, *, reopen: bool = True) -> TrialStore:
    """The trials of `trials.csv` with their evaluations of `curves.csv`.

    Args:
        run: of the earlier start.
        configuration: of that start, or what may change of it changed.
        reopen: whether trials that the end of the search cut off are running again.

    Raises:
        RunError: a file cannot be read or its rows do not fit the configuration.
    """
    curves: dict[str, list[Evaluation]] = {}
    rows = run.read_trials()
    try:
        for row in run.read_curves():
            curves.setdefault(row["trial_id"], []).append(evaluation_from_row(row))
        trials = [
            _trial(row, curves.get(row["trial_id"], []), configuration, reopen) for row in rows
        ]
        if len({trial.trial_id for trial in trials}) < len(trials):
            raise ValueError("a trial_id stands twice")
        return TrialStore(trials)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"run {run.directory}: trials.csv or curves.csv does not fit the configuration"
            f" ({' '.join(str(error).split())[:200]}); restore them, or start a new run"
        ) from error


def last_evaluated(run: Run) -> str | None:
    """The trial whose evaluation was written down last; None before there was one.

    A kill may have come between that and the decision that followed from it.
    """
    rows = run.read_curves()
    return rows[-1]["trial_id"] if rows else None


def _trial(
    row: Mapping[str, str],
    evaluations: list[Evaluation],
    configuration: Configuration,
    reopen: bool,
) -> Trial:
    _check_names(row, configuration)
    parameters: Parameters = {name: _number(row[name]) for name in configuration.search.space}
    training = with_parameters(configuration.training, {**parameters, "seed": int(row["seed"])})
    cut_off = reopen and row["stopped_by"] == StoppedBy.END_OF_SEARCH
    status = Status.RUNNING if cut_off else Status(row["status"])
    return Trial(
        trial_id=row["trial_id"],
        source=Source(row["source"]),
        parameters=parameters,
        training=training,
        replicate=int(row["replicate"]),
        split_seed=int(row["split_seed"]),
        status=status,
        evaluations=evaluations,
        error=row["error"],
        stopped_by=StoppedBy.NOBODY if cut_off else StoppedBy(row["stopped_by"]),
        fixed_rows_loss=float(row["fixed_rows_loss"]) if row["fixed_rows_loss"] else None,
        seconds=None if status == Status.RUNNING else float(row["seconds"]),
    )


def _check_names(row: Mapping[str, str], configuration: Configuration) -> None:
    # Files and directories are named by it.
    if not _TRIAL_ID.fullmatch(row["trial_id"]):
        raise ValueError(f"trial_id is {row['trial_id']!r}, but must be t and digits")
    kinds: dict[str, type[StrEnum]] = {
        "source": Source,
        "status": Status,
        "stopped_by": StoppedBy,
    }
    for name, known in kinds.items():
        if row[name] not in list(known):
            values = ", ".join(repr(one.value) for one in known)
            raise ValueError(f"{name} is {row[name]!r}, but must be one of {values}")
    last = configuration.search.confirm_max_replicates
    if not 0 <= int(row["replicate"]) <= last:
        raise ValueError(f"replicate is {row['replicate']}, but must be 0 to {last}")


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


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
