"""Restore a search from the files of its run, to resume it or only to rebuild `search.json`.

Both read `trials.csv` and `curves.csv` and give the trials to a new policy. A resume then continues
the search (`tuning.initial_state`); a rebuild starts nothing and writes what the policy decides.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import torch

from results.errors import RunError
from results.run import Run
from results.trial_states import SearchStatus, Source, Status, StoppedBy
from training.data import PreparedData, prepare
from training.metrics import Evaluation
from training.trained_on import known_to
from tuning.baseline_measurement import measure_baseline
from tuning.checks import check_same_split
from tuning.config import Configuration, with_data
from tuning.log_lines import log_result
from tuning.policy import Policy, make_policy
from tuning.record import describe_facts
from tuning.run_files import RunFiles, now
from tuning.rungs import EvaluationPlan, plan_of
from tuning.space import Parameters, read_value, with_parameters
from tuning.start import build, read_configuration
from tuning.trials import Phase, Trial, TrialStore, evaluation_from_row
from tuning.warm_start import WarmStart, read_warm_start

_TRIAL_ID = re.compile(r"t[0-9]{4,9}")


def recall_trials(
    run: Run,
    configuration: Configuration,
    *,
    resumes: bool = True,
    curve_rows: Sequence[Mapping[str, str]] | None = None,
) -> TrialStore:
    """Read the trials of `trials.csv` with their evaluations in `curves.csv`.

    Args:
        run: the run of the earlier start.
        configuration: the configuration of that start, with what a resume may change.
        resumes: whether trials that the end of the search stopped are running again.
        curve_rows: rows of `curves.csv`; None: they are read, and an incomplete line is removed.

    Raises:
        RunError: a file cannot be read or its rows do not fit the configuration.
    """
    curves: dict[str, list[Evaluation]] = {}
    rows = run.read_trials()
    try:
        for row in run.read_curves() if curve_rows is None else curve_rows:
            curves.setdefault(row["trial_id"], []).append(evaluation_from_row(row))
        trials = [
            _trial(row, curves.get(row["trial_id"], []), configuration, resumes=resumes)
            for row in rows
        ]
        if len({trial.trial_id for trial in trials}) < len(trials):
            raise ValueError("a trial_id occurs twice")
        return TrialStore(trials)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"run {run.directory}: trials.csv or curves.csv does not fit the configuration"
            f" ({' '.join(str(error).split())[:200]}); restore them, or start a new run"
        ) from error


def last_evaluated(run: Run) -> str | None:
    """Return the trial of the last evaluation in `curves.csv`; None: there is none.

    The process may have been killed after it wrote that evaluation and before it judged the trial.
    """
    rows = run.read_curves()
    return rows[-1]["trial_id"] if rows else None


def rebuild(run: Run) -> SearchStatus:
    """Write `search.json` again and, for a search that had finished, `best.yaml` and the report.

    Trials and scores come from `trials.csv` and `curves.csv`, the decisions from these and
    `config.yaml`, the facts about the data from reading the data again. Versions and devices are
    those of the machine that rebuilds; times are those of the files. The baseline is measured
    again.

    Returns:
        The status that follows from the files: completed, aborted or interrupted.

    Raises:
        RunError: a file is missing or does not fit the others, or another process writes the run.
        InputError: `config.yaml` or the data cannot be read.
    """
    for path in (run.config, run.trials, run.curves):
        if not path.exists():
            raise RunError(
                f"run {run.directory}: {path.name} is missing, but search.json cannot be rebuilt"
                " without it; restore the file, or search again"
            )
    with run.lock():
        configuration = build(read_configuration(run))
        warm_start = read_warm_start(run, configuration)
        data = prepare(
            configuration.data,
            seen=known_to(configuration.model),
            held_out=warm_start.held_out,
        )
        configuration = with_data(configuration, data.config)
        check_same_split(run, data)
        if not run.splits.exists():
            run.write_splits(data.assignment.to_csv(index=False, lineterminator="\n"))
        store = recall_trials(run, configuration, resumes=False)
        recalled = {trial.trial_id for trial in store}
        plan = plan_of(configuration, len(data.train.labels))
        policy = make_policy(
            configuration,
            plan,
            num_rows=len(data.train.labels),
            validation_labels=data.validation.labels,
            store=store,
            first_points=warm_start.points,
        )
        status = _status(policy)
        store.keep_only(recalled)  # without the trials that a resume would start next
        _files(run, configuration, data, plan, policy, warm_start).closed(status)
        if status == SearchStatus.COMPLETED:
            log_result(run)
    return status


def _trial(
    row: Mapping[str, str],
    evaluations: list[Evaluation],
    configuration: Configuration,
    *,
    resumes: bool,
) -> Trial:
    _check_names(row, configuration)
    parameters: Parameters = {
        name: read_value(name, row[name]) for name in configuration.search.space
    }
    training = with_parameters(configuration.training, {**parameters, "seed": int(row["seed"])})
    runs_again = resumes and row["stopped_by"] == StoppedBy.END_OF_SEARCH
    status = Status.RUNNING if runs_again else Status(row["status"])
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
        stopped_by=StoppedBy.NOBODY if runs_again else StoppedBy(row["stopped_by"]),
        fixed_rows_loss=float(row["fixed_rows_loss"]) if row["fixed_rows_loss"] else None,
        seconds=None if status == Status.RUNNING else float(row["seconds"]),
    )


def _check_names(row: Mapping[str, str], configuration: Configuration) -> None:
    # The id names files and directories.
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


def _files(
    run: Run,
    configuration: Configuration,
    data: PreparedData,
    plan: EvaluationPlan,
    policy: Policy,
    warm_start: WarmStart,
) -> RunFiles:
    """Return the writer of the run's files, with the times at which the files were written."""
    started_at, finished_at = (path.stat().st_mtime for path in (run.splits, run.curves))
    facts = describe_facts(
        configuration,
        plan,
        num_rows=len(data.train.labels),
        summary=data.summary,
        command=f"python -m tuning.search --config {run.config}",
        has_gpu=torch.cuda.is_available(),
        warm_start=warm_start.entries,
        encoders=[{} for _ in configuration.models],  # they are not read again
    )
    times = {
        "finished_at": _utc(finished_at),
        "seconds": round(max(finished_at - started_at, 0.0), 3),
        "rebuilt_at": now(),
    }
    return RunFiles(
        run,
        configuration=configuration,
        policy=policy,
        facts={**facts, **times},
        memory_limits={},
        baseline=measure_baseline(configuration, data),
        started_at=_utc(started_at),
    )


def _status(policy: Policy) -> SearchStatus:
    if policy.phase != Phase.FINISHED:
        return SearchStatus.INTERRUPTED
    return SearchStatus.COMPLETED if policy.has_winner else SearchStatus.ABORTED


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
