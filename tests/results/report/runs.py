"""Runs as a search and a final evaluation leave them, with malicious texts wherever possible."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.older_runs import OBJECTIVE
from results.run import CURVE_COLUMNS, Run
from results.score_names import F1_MACRO_PRESENT
from results.trial_states import SearchStatus, Source, Status, StoppedBy

EVIL = "<img src=x onerror=alert(1)>\"'&"
PARAMETERS = {"learning_rate": 3e-4, "batch_size": 16}
SPACE = {"learning_rate": {"log_uniform": [1e-4, 1e-3]}, "batch_size": {"choice": [8, 16, 32]}}
ROWS, RUNGS, BUDGET = 1000, (500, 1500), 3000


def record(**changes: Any) -> dict[str, Any]:
    """Return the content of `search.json`."""
    candidate = {"trial_id": "t0000", "parameters": PARAMETERS, "epochs": 3.0}
    return {
        "schema_version": 1,
        "status": SearchStatus.COMPLETED,
        "objective": OBJECTIVE,
        "seconds": 12.5,
        "command": f"python -m tuning.search --data {EVIL}",
        "repeatable": True,
        "data": {
            "path": EVIL,
            "sha256": "ab" * 32,
            "rows": 10,
            "kept": 9,
            "dropped": {"low confidence": 1},
            "class_counts": {"train": {EVIL: 4, "b": 2}, "test": {EVIL: 2, "b": 1}},
            "duplicate_groups": 3,
            "label_noise": 0.0917,
        },
        "search": {
            **{"algorithm": "random", "scheduler": "asha", "reduction_factor": 3},
            **{"rows_per_epoch": ROWS, "budget": BUDGET, "rungs": list(RUNGS), "space": SPACE},
        },
        "environment": {"packages": {"torch": "2.13.0"}, "commit": "abc"},
        "trials": {"requested": 2, "completed": 2, "stopped_early": 0, "failed": 0},
        "best": {
            **candidate,
            "trial_id": "t0001",
            **{"search_score": 0.71, "search_f1_macro": 0.71},
            **{"score": 0.705, "f1_macro": 0.705},
            "at_edge": [],
        },
        "default": {
            **candidate,
            **{"search_score": 0.6, "search_f1_macro": 0.6, "score": 0.6, "f1_macro": 0.6},
        },
        "confirmation": {
            "replicates": [{"seed": 1, "split_seed": 2}, {"seed": 3, "split_seed": 4}],
            "candidates": [
                {
                    "parameters": PARAMETERS,
                    **{"score": [0.61, 0.62], "f1_macro": [0.61, 0.62]},
                    "mean": 0.615,
                    "standard_error": 0.005,
                },
                {
                    "parameters": {"learning_rate": 5e-4, "batch_size": 8},
                    **{"score": [None, 0.7], "f1_macro": [None, 0.7]},
                    "mean": None,
                    "standard_error": None,
                },
            ],
            "winner_beats_default": {
                "leader": PARAMETERS,
                **{"draws": 2, "default_mean": 0.605, "leader_mean": 0.705},
                "difference": 0.1,
                "standard_error": 0.02,
                **{"distinguishable": True, "probability_of_lead": 0.999},
            },
            "verdict": f"the winner leads {EVIL}",
            "smallest_detectable_difference": 0.0123,
            "score_correlation": 0.42,
        },
        **changes,
    }


def evaluation_report(**changes: Any) -> dict[str, Any]:
    """Return the content of `evaluation_report.json`."""
    scores = {"score": 0.7, "accuracy": 0.75, "f1_macro": 0.7}
    classes = {
        EVIL: {"precision": 0.5, "recall": 0.6, "f1": 0.55, "support": 3},
        "b": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
    }
    return {
        "summary": f"found {EVIL}",
        "objective": OBJECTIVE,
        **scores,
        "per_class": classes,
        "confusion_matrix": [[2, 1], [1, 1]],
        "confidence_intervals": {
            **{"score": [0.65, 0.75], "accuracy": [0.7, 0.8], "f1_macro": [0.65, 0.75]},
            f"f1 of {EVIL}": [0.0, 0.0],
        },
        "baseline": {"name": EVIL, **scores},
        "gates": {f"f1 of {EVIL}": {"threshold": 0.7, "value": 0.55, "met": False}},
        "test_openings": [{"at": "2025-01-01T00:00:00+00:00", "reason": EVIL}],
        "method": {
            **{"labels": "scores are agreement", "intervals_cover": "rows"},
            "few_rows": {EVIL: 3},
        },
        "retrain": {
            **{"seed": 44, "rejected_attempts": [f"seed 43: {EVIL}"], "rows": 1234},
            "seconds": 12.3,
        },
        "search": {
            "trial_id": "t0001",
            **{"search_score": 0.71, "confirmed_score": 0.695},
            "confirmed_deviation": 0.0345,
        },
        "calibration": {
            "expected_calibration_error": 0.0777,
            "brier_score": 0.3,
            "negative_log_likelihood": 0.6,
            "bins": [
                {"confidence": 0.5, "accuracy": 0.4, "count": 7},
                {"confidence": 0.9, "accuracy": 0.8, "count": 7},
            ],
        },
        "stages": {
            "data": {f"no {EVIL} twice": {"met": True, "value": 0, "rule": f"0 {EVIL}"}},
            "training": {"loss fallen": {"met": False, "value": EVIL, "rule": "it falls"}},
        },
        "low_confidence": {
            **{"rows": 17, "accuracy": 0.4, F1_MACRO_PRESENT: 0.3333, "per_class": classes},
            **{"confidence_intervals": {F1_MACRO_PRESENT: [0.2, 0.4]}, "note": f"apart {EVIL}"},
        },
        **changes,
    }


ANALYSIS = {
    "rows": 100,
    "errors": 25,
    "error_rate": 0.25,
    "findings": [f"long texts fail more {EVIL}"],
    "by_distance": {
        "neighbouring": {"errors": 20, "share_of_errors": 0.8},
        "distribution": [{"distance": 0, "rows": 75, "share_of_rows": 0.75}],
    },
    "by_similarity": [
        {"low": 0.1, "high": 0.33, "rows": 50, "errors": 20, "error_rate": 0.4},
        {"low": 0.34, "high": 1.0, "rows": 50, "errors": 5, "error_rate": 0.1},
    ],
    "by_label_confidence": None,
    "not_analysed": {"by_label_confidence": "not measured", "by_distance": "no scale"},
}

SECRET = "a text that no one else may read"
_MISTAKES = (
    ("row", "label", "prediction", "confidence", "label_probability", "text"),
    (3, EVIL, "b", 0.99, 0.01, f"{SECRET} {EVIL}"),
)


def write_reports(run: Run, report: Mapping[str, Any], *, directory: str = "final") -> Path:
    """Write the files of a final evaluation that the report reads."""
    reports = run.directory / directory / "reports"
    reports.mkdir(parents=True)
    (reports / "evaluation_report.json").write_text(json.dumps(report), encoding="utf-8")
    (reports / "error_analysis.json").write_text(json.dumps(ANALYSIS), encoding="utf-8")
    with (reports / "misclassified.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(_MISTAKES)
    return reports


def small_run(directory: Path) -> Run:
    """Write a run of five trials: default, winner, a failed, a stopped and a confirmation trial."""
    run = Run(directory)
    run.directory.mkdir(parents=True)
    rows = [
        _row("t0000", Status.COMPLETED, Source.DEFAULT, 0.6),
        _row("t0001", Status.COMPLETED, Source.SEARCH, 0.71),
        {**_row("t0002", Status.FAILED, Source.SEARCH, None), "error": EVIL},
        {**_row("t0003", Status.STOPPED, Source.SEARCH, 0.9), "stopped_by": StoppedBy.SCHEDULER},
        _row("t0004", Status.COMPLETED, Source.CONFIRM, 0.99),
    ]
    run.write_trials(tuple(PARAMETERS), rows)
    full = [(500, 0.3), (1000, 0.4), (1500, 0.5), (3000, 0.6)]
    curves = {"t0000": full, "t0001": [*full[:3], (3000, 0.71)], "t0003": full[:1], "t0004": full}
    write_curves(run, curves)
    return run


def write_curves(run: Run, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Write `curves.csv` from (training rows seen, score) of each trial."""
    blank = dict.fromkeys(CURVE_COLUMNS, 0.5)
    with run.curves.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CURVE_COLUMNS)
        writer.writeheader()
        for trial_id, curve in curves.items():
            for examples, score in curve:
                values = {"examples": examples, "epoch": examples / ROWS, "score": score}
                writer.writerow({**blank, "trial_id": trial_id, "collapsed": False, **values})


def _row(trial_id: str, status: str, source: str, score: float | None) -> dict[str, Any]:
    scores = {} if score is None else {"score": score, "f1_macro": score}
    return {"trial_id": trial_id, "status": status, "source": source, **PARAMETERS, **scores}
