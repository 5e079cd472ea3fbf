"""What runs of older versions lack, filled in as they are read: up to 0.2.0 macro-F1 decided."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from results.trial_states import SearchStatus

OBJECTIVE: dict[str, Any] = {"name": "f1_macro", "label": "macro-F1", "higher_is_better": True}
"""`objective` of a record that has none."""

_SCORES = {
    "score": "f1_macro",
    "search_score": "search_f1_macro",
    "confirmed_score": "confirmed_f1_macro",
}
_PARTS_OF_TEST = ("baseline", "confidence_intervals", "difference", "p_value", "search")


def with_score(row: Mapping[str, str]) -> dict[str, str]:
    """A row of `trials.csv` or `curves.csv` with its `score`."""
    return dict(row) if "score" in row else {**row, "score": row["f1_macro"]}


def with_objective(record: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `search.json` with `objective`, and `score` beside each macro-F1."""
    if "objective" in record:
        return dict(record)
    filled = {key: _filled(record[key]) for key in ("best", "default") if key in record}
    confirmation = record.get("confirmation")
    if isinstance(confirmation, dict) and isinstance(confirmation.get("candidates"), list):
        candidates = [_filled(candidate) for candidate in confirmation["candidates"]]
        filled["confirmation"] = {**confirmation, "candidates": candidates}
    return {**record, **filled, "objective": OBJECTIVE}


def with_tested_score(report: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `evaluation_report.json` with `objective`, and `score` by each macro-F1."""
    if "objective" in report:
        return dict(report)
    return {**_filled_throughout(dict(report)), "objective": OBJECTIVE}


def _filled_throughout(part: Any) -> Any:
    """A part of the tested report, and the parts within it that hold scores."""
    if not isinstance(part, dict):
        return part
    within = {key: _filled_throughout(part[key]) for key in _PARTS_OF_TEST if key in part}
    return {**_filled(part), **within}


def _filled(part: Any) -> Any:
    """A part with a score where it has the macro-F1 that the score was; else as it is."""
    if not isinstance(part, dict):
        return part
    return {**part, **{new: part[old] for new, old in _SCORES.items() if old in part}}


class _Part(BaseModel):
    """Values of the types that JSON has for them; what else is there is let through."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Objective(_Part):
    name: str
    label: str
    higher_is_better: bool


class _Candidate(_Part):
    trial_id: str
    parameters: dict[str, int | float]
    search_score: float | None = None
    score: float | None
    epochs: float = 0


class _Best(_Candidate):
    score: float
    fixed_rows_loss: list[float] = []


class _Trials(_Part):
    requested: int
    completed: int = 0
    stopped_early: int = 0
    failed: int = 0


class _Record(_Part):
    status: Annotated[SearchStatus, Field(strict=False)]
    objective: _Objective
    seconds: float
    started_at: str = ""
    command: str = ""
    data: dict[str, Any]
    trials: _Trials
    best: _Best | None
    default: _Candidate | None
    confirmation: dict[str, Any] | None = None


def problem_of_record(record: Any) -> str | None:
    """What keeps the content of `search.json` from being read, in a clause; None: nothing."""
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        rule = first["msg"].removeprefix("Input ").replace("should", "must", 1)
        return f"{place} is {repr(first['input'])[:60]}, but {rule[0].lower()}{rule[1:]}"
    return None
