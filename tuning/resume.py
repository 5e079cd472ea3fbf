"""What an earlier start of the same search left: read from the run's own files."""

import re
from collections.abc import Mapping
from enum import StrEnum

from results.errors import RunError
from results.run import Run
from results.trial_states import Source, Status, StoppedBy
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.space import Parameters, with_parameters
from tuning.trials import Trial, TrialStore, evaluation_from_row

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
