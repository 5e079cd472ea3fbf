"""Compatibility with runs of older versions: fill in missing fields, validate the record.

Up to version 0.2.0 every search optimized macro-F1 and recorded no objective.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.trial_states import SearchStatus

OBJECTIVE: dict[str, Any] = {"name": "f1_macro", "label": "macro-F1", "higher_is_better": True}
"""`objective` of a record without one."""

_SCORES = {
    "score": "f1_macro",
    "search_score": "search_f1_macro",
    "confirmed_score": "confirmed_f1_macro",
}
_REPORT_PARTS = ("baseline", "confidence_intervals", "difference", "p_value", "search")


def with_score(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row of `trials.csv` or `curves.csv` with its `score`."""
    return dict(row) if "score" in row else {**row, "score": row["f1_macro"]}


def with_objective(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `search.json` with `objective`, and `score` beside each macro-F1."""
    if "objective" in record:
        return dict(record)
    filled = {key: _filled(record[key]) for key in ("best", "default") if key in record}
    confirmation = record.get("confirmation")
    if isinstance(confirmation, dict) and isinstance(confirmation.get("candidates"), list):
        candidates = [_filled(candidate) for candidate in confirmation["candidates"]]
        filled["confirmation"] = {**confirmation, "candidates": candidates}
    return {**record, **filled, "objective": OBJECTIVE}


def with_tested_score(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `evaluation_report.json` with `objective` and each `score`."""
    if "objective" in report:
        return dict(report)
    return {**_filled_throughout(dict(report)), "objective": OBJECTIVE}


def _filled_throughout(part: Any) -> Any:
    """Return a part of the report with its scores, and those of the parts in it."""
    if not isinstance(part, dict):
        return part
    within = {key: _filled_throughout(part[key]) for key in _REPORT_PARTS if key in part}
    return {**_filled(part), **within}


def _filled(part: Any) -> Any:
    """Return a part with a score beside each macro-F1; anything else unchanged."""
    if not isinstance(part, dict):
        return part
    return {**part, **{new: part[old] for new, old in _SCORES.items() if old in part}}


class _Part(BaseModel):
    """Fields of the JSON types that readers need; further fields are allowed."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Objective(_Part):
    name: str
    label: str
    higher_is_better: bool


class _Candidate(_Part):
    trial_id: str
    parameters: dict[str, int | float | str | bool | None]
    search_score: float | None = None
    search_epochs: float | None = None
    score: float | None
    epochs: float = 0


class _Best(_Candidate):
    score: float
    fixed_rows_loss: list[float] = []


class _Baseline(_Part):
    name: str
    score: float


class _Trials(_Part):
    requested: int
    completed: int = 0
    stopped_early: int = 0
    ended_at_last_rung: int = 0
    failed: int = 0


class _Record(_Part):
    status: Annotated[SearchStatus, Field(strict=False)]
    objective: _Objective
    seconds: float
    started_at: str = ""
    command: str = ""
    data: dict[str, Any]
    trials: _Trials
    baseline: _Baseline | None = None
    best: _Best | None
    default: _Candidate | None
    confirmation: dict[str, Any] | None = None


def problem_of_record(record: Any) -> str | None:
    """Return why the content of `search.json` is invalid, as a clause; None: it is valid."""
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "it"
        rule = first["msg"].removeprefix("Input ").replace("should", "must", 1)
        return f"{field} is {repr(first['input'])[:60]}, but {rule[0].lower()}{rule[1:]}"
    return None
