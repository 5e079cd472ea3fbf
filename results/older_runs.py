"""What runs of older versions lack, filled in as they are read: up to 0.2.0 macro-F1 decided."""

from collections.abc import Mapping
from typing import Any

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
