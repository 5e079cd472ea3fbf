"""The leaderboard of `report.html`: the trials of the search, the best first."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from results.report.markup import paragraphs, sortable_table
from results.report.run_data import ReportTrial, RunData, parse_number
from results.score_names import BESIDE_THE_SCORE, OVERALL
from results.trial_states import Status


def list_trials(data: RunData) -> str:
    """Write the leaderboard: all trials of the search, the best first, confirmations excluded."""
    compared = _compared(data)
    trials = sorted(data.searched, key=lambda trial: compared[trial.trial_id].rank)
    if not trials:
        return paragraphs(["No trial has started yet."])
    roles = {data.id_of("default"): " (default)"}
    roles |= {data.id_of("best"): " (winner)"}
    results = _result_columns(data, compared)
    order = _ORDER_AT_LAST_RUNG if data.ends_at_last_rung else _ORDER
    return paragraphs([order]) + sortable_table(
        ["trial", "status", *data.parameters, *results],
        [
            [
                f"{trial.trial_id}{roles.get(trial.trial_id, '')}",
                trial.ending,
                *(_short(value) for value in trial.parameters.values()),
                *(cell(trial) for cell in results.values()),
            ]
            for trial in trials
        ],
        caption="Trials of the search; the button of a column sorts by it",
    )


_ORDER = (
    "Completed trials come first, sorted by their score. The others follow by the rung that they"
    " reached; scores of shorter trainings are not comparable. The score is the mean of the last"
    " two evaluations at the rung, of completed trials the last evaluation. The peak is displayed"
    " but never compared."
)

_ORDER_AT_LAST_RUNG = (
    "Trials that reached the last rung come first, sorted by their score there; the finalists are"
    " the best of them. The others follow by the rung that they reached; scores at different rungs"
    " are not comparable. The score is the mean of the last two evaluations at the rung. The peak"
    " is displayed but never compared."
)


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Where a trial is compared with others, and its score there."""

    is_out: bool
    """Whether it failed, diverged or collapsed."""
    level: int
    """Number of the rung, from 1; 0: it reached none."""
    score: float
    """NaN where it has none."""
    name: str
    """Of the rung."""

    @property
    def rank(self) -> tuple[bool, int, float]:
        """Key that sorts trials: out last, then by level and score, the highest first."""
        score = -self.score if math.isfinite(self.score) else math.inf
        return self.is_out, -self.level, score


def _compared(data: RunData) -> dict[str, _Compared]:
    """Return where each trial is compared; in a run of an older version at its end alone."""
    found = {trial.trial_id: _without_rung(trial) for trial in data.searched}
    for level, rung in enumerate(data.rung_trials(), 1):
        for trial, score in zip(rung.trials, rung.scores, strict=True):
            before = found[trial.trial_id]
            if before.is_out:
                continue
            # A trial that is not judged at the last rung trains on, and is compared there.
            is_beyond = data.ends_at_last_rung and before.level and rung.is_full
            found[trial.trial_id] = _Compared(
                is_out=False,
                level=before.level if is_beyond else level,
                score=score,
                name=rung.short_name,
            )
    return found


def _without_rung(trial: ReportTrial) -> _Compared:
    is_out = trial.status in (Status.FAILED, Status.DIVERGED, Status.COLLAPSED)
    is_complete = trial.status == Status.COMPLETED
    score = parse_number(trial.row["score"])
    return _Compared(is_out=is_out, level=int(is_complete), score=score, name="")


def _result_columns(
    data: RunData, compared: Mapping[str, _Compared]
) -> dict[str, Callable[[ReportTrial], str]]:
    """Return the columns after the parameters: title, and what formats a trial's cell."""
    beside = [key for key in BESIDE_THE_SCORE if key != data.record["objective"]["name"]]
    return {
        data.score_label: lambda trial: _number(compared[trial.trial_id].score, ".4f"),
        "compared at": lambda trial: compared[trial.trial_id].name,
        "peak": _peak,
        **{OVERALL[key]: partial(_figure, key=key, form=".4f") for key in beside},
        "epochs": partial(_figure, key="epochs", form=".2f"),
        "seconds": partial(_figure, key="seconds", form=",.0f"),
        "error": lambda trial: trial.row.get("error", ""),
    }


def _figure(trial: ReportTrial, *, key: str, form: str) -> str:
    """Format a number of the trial's row; the same format for all rows of a column."""
    return _number(parse_number(trial.row.get(key, "")), form)


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""


def _peak(trial: ReportTrial) -> str:
    return f"{max(score for _, score in trial.curve):.4f}" if trial.curve else ""


def _short(value: float) -> Any:
    """Round a parameter to four significant digits; whole numbers lose their point."""
    if not math.isfinite(value):
        return ""
    return int(value) if value.is_integer() else float(f"{value:.4g}")
