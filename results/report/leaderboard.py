"""The leaderboard of `report.html`: the trials of the search, the best first."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from results.parameter_values import format_value, is_number
from results.report.markup import Titled, paragraphs, sortable_table
from results.report.run_data import ReportTrial, RunData, parse_number
from results.score_names import BESIDE_THE_SCORE, OVERALL
from results.status_text import describe_baseline
from results.trial_states import Status

_BASELINE = "TF-IDF (line to beat)"


def list_trials(data: RunData) -> str:
    """Write the leaderboard: all trials of the search, the best first, confirmations excluded."""
    compared = _compared(data)
    trials = sorted(data.searched, key=lambda trial: compared[trial.trial_id].rank)
    if not trials:
        return paragraphs(["No trial has started yet.", *_describe_line(data)])
    columns = _columns(data, compared)
    rows = [[_name(trial, data), *(cell(trial) for cell in columns.values())] for trial in trials]
    if baseline := data.record.get("baseline"):
        longest = max(one.level for one in compared.values())
        rank = _Compared(is_out=False, level=longest, score=baseline["score"], name="").rank
        position = sum(compared[trial.trial_id].rank < rank for trial in trials)
        rows.insert(position, _line_to_beat(baseline, columns, data))
    return paragraphs([_count(data), *_describe_order(data), *_describe_line(data)]) + (
        sortable_table(
            ["trial", *columns],
            rows,
            caption="Trials of the search; the button of a column sorts by it",
            marked={
                _BASELINE: "baseline",
                **{_name(t, data): "winner" for t in trials if t.trial_id == data.id_of("best")},
            },
        )
    )


def _describe_line(data: RunData) -> Iterator[str]:
    if baseline := data.record.get("baseline"):
        yield (
            f"Line to beat: {describe_baseline(baseline, data.score_label)}, fitted on the training"
            " rows and measured on the validation rows of the search."
        )


def _line_to_beat(baseline: Mapping[str, Any], columns: Iterable[str], data: RunData) -> list[Any]:
    """Return the row of the baseline, among the trials that trained longest."""
    keys = {OVERALL[key]: key for key in BESIDE_THE_SCORE} | {data.score_label: "score"}
    values = (baseline.get(keys.get(title, "")) for title in columns)
    return [_BASELINE, *("" if v is None else f"{v:.3f}" for v in values)]


def _name(trial: ReportTrial, data: RunData) -> str:
    roles = {data.id_of("default"): " (default)"}
    roles |= {data.id_of("best"): " (winner)"}
    return f"{trial.trial_id}{roles.get(trial.trial_id, '')}"


def _count(data: RunData) -> str:
    """Return how many trials there are, and how they ended."""
    endings = Counter(trial.ending for trial in data.searched)
    counts = ", ".join(f"{num} {ending}" for ending, num in endings.most_common())
    num = sum(endings.values())
    return f"{num} trial{'s' * (num != 1)} in {data.record['seconds']:,.0f} s: {counts}."


def _describe_order(data: RunData) -> Iterator[str]:
    levels = [rung.short_name for rung in data.rung_trials()]
    if len(levels) > 1:
        yield (
            "Trials that trained longest come first, then the best; scores at different rungs are"
            " not comparable."
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


def _columns(
    data: RunData, compared: Mapping[str, _Compared]
) -> dict[str, Callable[[ReportTrial], Any]]:
    """Return the columns after the trial: title, and what formats a trial's cell.

    A column with the same value for every trial is left out, except the score.
    """
    names = data.model_names
    beside = [key for key in BESIDE_THE_SCORE if key != data.record["objective"]["name"]]
    columns: dict[str, Callable[[ReportTrial], Any]] = {
        **{name: partial(_parameter, name=name, names=names) for name in data.parameters},
        **{OVERALL[key]: partial(_figure, key=key, form=".3f") for key in beside},
        "compared at": lambda trial: compared[trial.trial_id].name,
        "status": lambda trial: trial.ending,
        "seconds": partial(_figure, key="seconds", form=",.0f"),
        "error": lambda trial: trial.row.get("error", ""),
    }
    varying = {
        name: cell
        for name, cell in columns.items()
        if name in data.parameters or len({str(cell(trial)) for trial in data.searched}) > 1
    }
    score = {data.score_label: lambda trial: _number(compared[trial.trial_id].score, ".3f")}
    return {**score, **varying}


def _parameter(trial: ReportTrial, *, name: str, names: Mapping[str, str]) -> Any:
    value = trial.parameters[name]
    text, whole = format_value(value, names), format_value(value)
    if not is_number(value):
        return Titled(text, whole) if text != whole else text
    number = float(value or 0)
    return int(number) if number.is_integer() else float(f"{number:.4g}")


def _figure(trial: ReportTrial, *, key: str, form: str) -> str:
    """Format a number of the trial's row; the same format for all rows of a column."""
    return _number(parse_number(trial.row.get(key, "")), form)


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else ""
