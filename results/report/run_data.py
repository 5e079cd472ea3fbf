"""Read the run's files for the report: trials, curves, scores at each rung, the test's reports."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.files import read_csv
from results.older_runs import with_tested_score
from results.parameter_values import Value, read_value, short_model_names
from results.run import FIXED_COLUMNS, TEST_REPORT, Run
from results.rung_scores import Curve, score_at
from results.trial_states import Source, Status, StoppedBy
from results.verdict import full_epochs


@dataclass(frozen=True, kw_only=True)
class ReportTrial:
    """A trial as the report displays it."""

    trial_id: str
    source: str
    status: str
    stopped_by: str
    parameters: Mapping[str, Value]
    row: Mapping[str, str]
    """Its row of `trials.csv`."""
    curve: Curve
    """Its evaluations with a finite loss: (training rows seen, score)."""

    @property
    def is_confirmation(self) -> bool:
        """Whether it belongs to the confirmation, with another seed and split."""
        return self.source == Source.CONFIRM

    @property
    def is_at_last_rung(self) -> bool:
        """Whether it ended at the last rung, as the trials of its search do."""
        return self.stopped_by == StoppedBy.CONFIRMATION

    @property
    def was_stopped_early(self) -> bool:
        """Whether it was stopped before trials of its search end."""
        return self.status == Status.STOPPED and not self.is_at_last_rung

    @property
    def ending(self) -> str:
        """Its state for people: how it ended."""
        return _ENDINGS.get(self.stopped_by, self.status)


_ENDINGS: Mapping[str, str] = {
    StoppedBy.SCHEDULER: "stopped early at a rung",
    StoppedBy.PATIENCE: "stopped early for lack of improvement",
    StoppedBy.END_OF_SEARCH: "stopped at the end of the search",
    StoppedBy.CONFIRMATION: "ended at the last rung",
}


@dataclass(frozen=True, kw_only=True)
class RungTrials:
    """The trials that reached a rung or the full budget, and their scores there."""

    examples: int
    """Training rows seen at the rung."""
    name: str
    trials: Sequence[ReportTrial]
    scores: Sequence[float]
    """The score of each of `trials`."""
    num_stopped: int
    """Number of these trials that the scheduler stopped here."""
    is_full: bool
    """Whether it is the full budget."""
    is_end: bool
    """Whether trials of the search end here: at the full budget, or at the last rung."""

    @property
    def short_name(self) -> str:
        """Its name without the epochs."""
        return self.name.partition(",")[0]


@dataclass(frozen=True, kw_only=True)
class RunData:
    """Everything that the report is made from."""

    run: Run
    record: Mapping[str, Any]
    """Content of `search.json`."""
    trials: Sequence[ReportTrial]
    """In order of creation, confirmations included."""
    test: Mapping[str, Any] | None
    """Content of the last `evaluation_report.json`; None before the evaluation on the test set, and
    where the file cannot be read."""
    analysis: Mapping[str, Any]
    """Content of `error_analysis.json`; empty where there is none."""
    mistakes: Sequence[Mapping[str, str]]
    """Wrong test rows, the most confident first: rows of `misclassified.csv`."""

    @property
    def score_label(self) -> str:
        """Name of the score for people; it may contain the name of a class."""
        return str(self.record["objective"]["label"])

    @property
    def searched(self) -> Sequence[ReportTrial]:
        """Trials of the search, without confirmations."""
        return [trial for trial in self.trials if not trial.is_confirmation]

    @property
    def parameters(self) -> Sequence[str]:
        """Names of the searched parameters."""
        return list(self.trials[0].parameters) if self.trials else []

    @property
    def schedule(self) -> Mapping[str, Any]:
        """`search` of the record; empty for runs of older versions."""
        return self.record.get("search") or {}

    @property
    def ends_at_last_rung(self) -> bool:
        """Whether trials of the search end at the last rung, and finalists are trained afresh."""
        return bool(self.schedule.get("ends_at_last_rung"))

    @property
    def epochs(self) -> float | None:
        """Epochs of a full training; None for runs of older versions."""
        return full_epochs(self.record)

    @property
    def model_names(self) -> Mapping[str, str]:
        """Short names of the models that were searched; empty: none was."""
        return short_model_names(self.record)

    def id_of(self, role: str) -> str | None:
        """Return the id of the `best` or `default` trial; None while there is none."""
        found = self.record.get(role)
        return found["trial_id"] if found else None

    def rung_trials(self) -> Sequence[RungTrials]:
        """Return the rungs and the full budget in ascending order, without those not reached."""
        schedule = self.schedule
        if not schedule:
            return []
        budget, per_epoch = schedule["budget"], schedule["rows_per_epoch"]
        budgets = [*schedule["rungs"], budget]
        found = []
        for number, examples in enumerate(budgets, 1):
            epochs = f"{examples / per_epoch:.3g} epochs" if examples != per_epoch else "1 epoch"
            name = f"full budget, {epochs}" if examples == budget else f"rung {number}, {epochs}"
            found.append(self._rung(examples, budgets[number : number + 1], budget, name))
        return [rung for rung in found if rung.trials]

    def _rung(self, examples: int, following: Sequence[int], budget: int, name: str) -> RungTrials:
        scored = [
            (trial, score)
            for trial in self.searched
            if (score := score_at(trial.curve, examples, budget=budget)) is not None
        ]
        return RungTrials(
            examples=examples,
            name=name,
            trials=[trial for trial, _ in scored],
            scores=[score for _, score in scored],
            is_full=examples == budget,
            is_end=examples == (self.schedule["rungs"][-1] if self.ends_at_last_rung else budget),
            num_stopped=sum(
                trial.stopped_by == StoppedBy.SCHEDULER and trial.curve[-1][0] < end
                for trial, _ in scored
                for end in following
            ),
        )


def read_run_data(run: Run, record: Mapping[str, Any]) -> RunData:
    """Read the files of a run's directory.

    Args:
        run: the run to report on.
        record: content of `search.json`.

    Raises:
        RunError: `trials.csv` or `curves.csv` cannot be read.
    """
    curves = _curves(run.read_complete_curves())
    space = (record.get("search") or {}).get("space") or {}
    reports = run.newest_reports()
    return RunData(
        run=run,
        record=record,
        trials=[_trial(row, curves.get(row["trial_id"], []), space) for row in run.read_trials()],
        test=_read_test_report(reports / TEST_REPORT) if reports else None,
        analysis=_read_json(reports / "error_analysis.json") if reports else {},
        mistakes=read_csv(reports / "misclassified.csv") if reports else [],
    )


def parse_number(cell: str | None) -> float:
    """Return the number in a cell; NaN for text and for an empty or missing cell."""
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def _trial(
    row: Mapping[str, str], curve: Curve, space: Mapping[str, Mapping[str, Any]]
) -> ReportTrial:
    return ReportTrial(
        trial_id=row["trial_id"],
        source=row["source"],
        status=row["status"],
        stopped_by=row["stopped_by"],
        parameters={
            name: read_value(cell, space.get(name, {}))
            for name, cell in row.items()
            if name not in FIXED_COLUMNS
        },
        row=row,
        curve=curve,
    )


def _curves(rows: Iterable[Mapping[str, str]]) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        score, loss = parse_number(row["score"]), parse_number(row["eval_loss"])
        if math.isfinite(score) and math.isfinite(loss):
            curves.setdefault(row["trial_id"], []).append((int(row["examples"]), score))
    return curves


def _read_test_report(path: Path) -> Mapping[str, Any] | None:
    found = _read_json(path)
    return with_tested_score(found) if found else None


def _read_json(path: Path) -> Mapping[str, Any]:
    """Return the mapping in a file; an empty one where the file is missing or unreadable."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
