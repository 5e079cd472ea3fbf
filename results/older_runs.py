"""What runs of older versions lack, filled in as they are read: until 0.2.0 macro-F1 decided."""

from collections.abc import Mapping
from typing import Any

OBJECTIVE = {"name": "f1_macro", "label": "macro-F1", "higher_is_better": True}
"""`objective` of a record that has none."""


def with_score(row: Mapping[str, str]) -> dict[str, str]:
    """A row of `trials.csv` or `curves.csv` with its `score`."""
    return dict(row) if "score" in row else {**row, "score": row["f1_macro"]}


def with_objective(record: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `search.json` with `objective`, and `score` beside each macro-F1."""
    if "objective" in record:
        return dict(record)
    filled = {**record, "objective": OBJECTIVE}
    for key in ("best", "default"):
        filled[key] = _filled(record.get(key))
    confirmation = record.get("confirmation")
    if isinstance(confirmation, dict):
        candidates = confirmation.get("candidates")
        if isinstance(candidates, list):
            filled["confirmation"] = {
                **confirmation,
                "candidates": [_filled(candidate) for candidate in candidates],
            }
    return filled


def _filled(part: Any) -> Any:
    """A part with `score` and `search_score` where it has their macro-F1; else as it is."""
    if not isinstance(part, dict):
        return part
    names = {"score": "f1_macro", "search_score": "search_f1_macro"}
    return {**part, **{new: part[old] for new, old in names.items() if old in part}}
