"""A search's record and a test report of which tests change one part, and the verdict on them."""

from pathlib import Path
from typing import Any

from results.older_runs import OBJECTIVE
from results.recommendation import Recommendation, recommend
from results.run import Run
from results.trial_states import SearchStatus, VerdictKind

DEFAULT = {"learning_rate": 1e-3, "batch_size": 16}
FOUND = {"learning_rate": 4e-3, "batch_size": 32}
EDGE = {
    **{"parameter": "learning_rate", "value": 4e-3, "bound": "high", "inside": True},
    "searched": {"log_uniform": [1e-3, 4e-3]},
    "try_next": {"log_uniform": [2e-3, 8e-3]},
}


def candidate(parameters: dict[str, Any], *scores: float) -> dict[str, Any]:
    mean = sum(scores) / len(scores)
    return {"parameters": parameters, "score": list(scores), "mean": mean, "standard_error": 0.01}


def record(**changes: Any) -> dict[str, Any]:
    """Return the record of a completed search whose winner is not the default."""
    return {
        "status": SearchStatus.COMPLETED,
        "objective": OBJECTIVE,
        "seconds": 60.0,
        "command": "python -m tuning.search --data rows.csv --name first",
        "data": {
            "class_counts": {
                "train": {"a": 60, "b": 60},
                "validation": {"a": 20, "b": 20},
                "test": {"a": 20, "b": 20},
            },
            **{"label_noise": None, "rows_seen": None},
        },
        "environment": {"model": {"name": "some/encoder", "weights": "pretrained"}},
        "search": {
            "space": {"learning_rate": EDGE["searched"], "batch_size": {"choice": [16, 32]}}
        },
        "best": {"trial_id": "t0004", "parameters": FOUND, "score": 0.8, "at_edge": []},
        "default": {"trial_id": "t0000", "parameters": DEFAULT, "score": 0.7},
        "confirmation": {
            "candidates": [candidate(DEFAULT, 0.68, 0.72), candidate(FOUND, 0.79, 0.81)],
            "winner_beats_default": {"leader": FOUND, "difference": 0.1, "draws": 2},
        },
        **changes,
    }


def report(**changes: Any) -> dict[str, Any]:
    """Return the test report of a model that beats the baseline."""
    return {
        "objective": OBJECTIVE,
        "score": 0.79,
        "confidence_intervals": {"score": [0.75, 0.83]},
        "per_class": {"a": {"support": 20}, "b": {"support": 20}},
        "confusion_matrix": [[18, 2], [2, 18]],
        "baseline": {
            **{"name": "TF-IDF", "score": 0.7, "confidence_intervals": {"score": [0.65, 0.74]}},
            **{"difference": {"score": 0.09}, "p_value": {"score": 0.012}},
        },
        "gates": {},
        "stages": {},
        "test_openings": [{"at": "2026-01-01", "reason": "first evaluation"}],
        "earlier_openings": [],
        "search": {"confirmed_score": 0.8, "confirmed_standard_error": 0.01},
        "retrain": {"fixed_rows_loss": 0.3, "fixed_rows_loss_in_search": [0.31]},
        **changes,
    }


def against(difference: float, p_value: float) -> dict[str, Any]:
    """Return a report with another comparison."""
    baseline = report()["baseline"]
    changed = {"difference": {"score": difference}, "p_value": {"score": p_value}}
    return report(baseline=baseline | changed)


def verdict(test: dict[str, Any] | None, run: Run | None = None, **changes: Any) -> Recommendation:
    found = recommend(run or Run(Path("/runs/first")), record(**changes), test)
    assert found.sentence.startswith(found.words)
    assert found.sentence.endswith(".")
    assert "\n" not in found.sentence
    has_reasons = found.kind == VerdictKind.DO_NOT_TRUST or "Caution" in found.sentence
    assert bool(found.reasons) is has_reasons
    assert set(found.as_record()) == {*("kind", "sentence", "reasons", "next_steps", "notes")}
    return found


def texts(found: Recommendation) -> str:
    return "\n".join(str(step) for step in found.next_steps)
