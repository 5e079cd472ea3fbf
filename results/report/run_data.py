"""What a report is made of: the run's own files, read once, in types."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.files import read_csv
from results.older_runs import with_tested_score
from results.run import FIXED_COLUMNS, TEST_REPORT, Run
from results.rung_scores import Curve, score_at
from results.trial_states import Source, StoppedBy


@dataclass(frozen=True, kw_only=True)
class ReportTrial:
    """A trial as the report shows it."""

    trial_id: str
    source: str
    status: str
    stopped_by: str
    parameters: Mapping[str, float]
    row: Mapping[str, str]
    """Its row of `trials.csv`."""
    curve: Curve
    """Its evaluations with a finite loss: (training rows seen, score)."""

    @property
    def is_confirmation(self) -> bool:
        """Whether it belongs to the confirmation: other seeds, other splits."""
        return self.source == Source.CONFIRM


@dataclass(frozen=True, kw_only=True)
class RungTrials:
    """An equal budget at which trials are compared, and who got there."""

    examples: int
    """Training rows seen."""
    name: str
    trials: Sequence[ReportTrial]
    scores: Sequence[float]
    """Of these trials, one each."""
    num_stopped: int
    """How many of them the scheduler ended here."""


@dataclass(frozen=True, kw_only=True)
class RunData:
    """All that a report is made of."""

    run: Run
    record: Mapping[str, Any]
    """Content of `search.json`."""
    trials: Sequence[ReportTrial]
    """In order of creation, confirmations included."""
    test: Mapping[str, Any] | None
    """Content of the last `evaluation_report.json`; None before the test is opened, and where it
    cannot be read."""
    analysis: Mapping[str, Any]
    """Content of `error_analysis.json`; empty where there is none."""
    mistakes: Sequence[Mapping[str, str]]
    """Wrong test rows, the most confident first; rows of `misclassified.csv`."""

    @property
    def score_label(self) -> str:
        """What scores are, for people; the name of a class may stand in it."""
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

    def id_of(self, role: str) -> str | None:
        """The trial that is `best` or `default`; None while there is none."""
        found = self.record.get(role)
        return found["trial_id"] if found else None

    def levels(self) -> Sequence[RungTrials]:
        """Rungs and the full budget, ascending, each with the trials that have a score there."""
        schedule = self.schedule
        if not schedule:
            return []
        budget, per_epoch = schedule["budget"], schedule["rows_per_epoch"]
        places = [*schedule["rungs"], budget]
        found = []
        for number, examples in enumerate(places, 1):
            epochs = f"{examples / per_epoch:.3g} epochs" if examples != per_epoch else "1 epoch"
            name = f"full budget, {epochs}" if examples == budget else f"rung {number}, {epochs}"
            found.append(self._level(examples, places[number : number + 1], budget, name))
        return [level for level in found if level.trials]

    def _level(self, examples: int, following: Sequence[int], budget: int, name: str) -> RungTrials:
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
            num_stopped=sum(
                trial.stopped_by == StoppedBy.SCHEDULER and trial.curve[-1][0] < end
                for trial, _ in scored
                for end in following
            ),
        )


def read_run_data(run: Run, record: Mapping[str, Any]) -> RunData:
    """Read what the run's directory holds.

    Args:
        run: whose files they are.
        record: content of `search.json`.

    Raises:
        RunError: `trials.csv` or `curves.csv` cannot be read.
    """
    curves = _curves(run.read_complete_curves())
    reports = run.newest_reports()
    return RunData(
        run=run,
        record=record,
        trials=[_trial(row, curves.get(row["trial_id"], [])) for row in run.read_trials()],
        test=_tested(reports / TEST_REPORT) if reports else None,
        analysis=_read_json(reports / "error_analysis.json") if reports else {},
        mistakes=read_csv(reports / "misclassified.csv") if reports else [],
    )


def number_in(cell: str | None) -> float:
    """The number of a cell; NaN for an empty or missing one, or text."""
    try:
        return float(cell or "nan")
    except ValueError:
        return math.nan


def _trial(row: Mapping[str, str], curve: Curve) -> ReportTrial:
    return ReportTrial(
        trial_id=row["trial_id"],
        source=row["source"],
        status=row["status"],
        stopped_by=row["stopped_by"],
        parameters={
            name: number_in(cell) for name, cell in row.items() if name not in FIXED_COLUMNS
        },
        row=row,
        curve=curve,
    )


def _curves(rows: Iterable[Mapping[str, str]]) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        score, loss = number_in(row["score"]), number_in(row["eval_loss"])
        if math.isfinite(score) and math.isfinite(loss):
            curves.setdefault(row["trial_id"], []).append((int(row["examples"]), score))
    return curves


def _tested(path: Path) -> Mapping[str, Any] | None:
    found = _read_json(path)
    return with_tested_score(found) if found else None


def _read_json(path: Path) -> Mapping[str, Any]:
    """The mapping in a file; empty where there is none that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
