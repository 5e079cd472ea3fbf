"""What an earlier start of the same search left: read from the run's own files."""

from collections.abc import Mapping

from results.errors import RunError
from results.run import Run
from training.metrics import Evaluation
from tuning.config import Configuration
from tuning.space import Parameters, with_parameters
from tuning.trials import Trial, evaluation_from_row


def recall_trials(run: Run, configuration: Configuration, *, reopen: bool = True) -> list[Trial]:
    """Trials of `trials.csv` with their evaluations of `curves.csv`, in order of creation.

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
        return [_trial(row, curves.get(row["trial_id"], []), configuration, reopen) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"run {run.directory}: trials.csv or curves.csv does not fit the configuration"
            f" ({' '.join(str(error).split())[:200]}); restore them, or start a new run"
        ) from error


def last_shown(run: Run) -> str | None:
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
    parameters: Parameters = {name: _number(row[name]) for name in configuration.search.space}
    training = with_parameters(configuration.training, {**parameters, "seed": int(row["seed"])})
    cut_off = reopen and row["stopped_by"] == "end of search"
    is_running = cut_off or row["status"] == "running"
    return Trial(
        trial_id=row["trial_id"],
        source=row["source"],  # type: ignore[arg-type]
        parameters=parameters,
        training=training,
        replicate=int(row["replicate"]),
        split_seed=int(row["split_seed"]),
        status="running" if is_running else row["status"],  # type: ignore[arg-type]
        evaluations=evaluations,
        error=row["error"],
        stopped_by="" if cut_off else row["stopped_by"],  # type: ignore[arg-type]
        fixed_rows_loss=float(row["fixed_rows_loss"]) if row["fixed_rows_loss"] else None,
        seconds=None if is_running else float(row["seconds"]),
    )


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
