"""A run with an objective that ranks its trials differently from macro-F1.

By the objective t0001 is the best trial and the default the worst; by macro-F1 t0002 is the best
and t0001 the worst.
"""

import csv
from pathlib import Path
from typing import Any

from results.run import CURVE_COLUMNS, Run
from results.trial_states import SearchStatus, Source, Status
from tests.results.report import runs

ACCURACY = {"name": "accuracy", "label": "accuracy", "higher_is_better": True}
OF_A_CLASS = {
    "name": f"f1:{runs.EVIL}",
    "label": f"F1 of {runs.EVIL}",
    "higher_is_better": True,
}

SCORES = {"t0000": (0.70, 0.60), "t0001": (0.80, 0.40), "t0002": (0.75, 0.90)}
"""Score and macro-F1 of each trial."""
PARAMETERS = {
    "t0000": {"learning_rate": 3e-4, "batch_size": 16},
    "t0001": {"learning_rate": 5e-4, "batch_size": 8},
    "t0002": {"learning_rate": 9e-4, "batch_size": 32},
}
CONFIRMED, OF_DEFAULT = (0.81, 0.41), (0.71, 0.61)
"""Means over the replicates (score, macro-F1) of t0001 and of the default."""


def run_decided_by(objective: dict[str, Any], directory: Path, **changes: Any) -> Run:
    """Write the files of a search of three completed trials; `changes` update its record."""
    run = Run(directory)
    run.directory.mkdir(parents=True)
    run.write_trials(tuple(PARAMETERS["t0000"]), map(_row, SCORES))
    _write_curves(run)
    run.write_record(record(objective) | changes)
    return run


def record(objective: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `search.json`."""
    found = runs.record()
    best, default = _candidate("t0001", CONFIRMED), _candidate("t0000", OF_DEFAULT)
    lead = {"default_mean": 0.71, "leader_mean": 0.81, "difference": 0.1, "draws": 2}
    confirmation = {
        **found["confirmation"],
        "candidates": [_confirmed("t0000", OF_DEFAULT), _confirmed("t0001", CONFIRMED)],
        "winner_beats_default": {**found["confirmation"]["winner_beats_default"], **lead},
    }
    return {
        **found,
        "status": SearchStatus.COMPLETED,
        "objective": objective,
        "best": {**best, "at_edge": []},
        "default": default,
        "examples_trained": {"search": 3 * runs.BUDGET, "confirmation": 4 * runs.BUDGET},
        "confirmation": confirmation,
    }


def evaluation_report(objective: dict[str, Any]) -> dict[str, Any]:
    """Return the content of `evaluation_report.json`: the score is 0.79, macro-F1 0.43."""
    found = runs.evaluation_report()
    scores = {"score": 0.79, "accuracy": 0.79, "f1_macro": 0.43}
    intervals = {"score": [0.77, 0.81], "accuracy": [0.77, 0.81], "f1_macro": [0.41, 0.45]}
    return {
        **found,
        **scores,
        "objective": objective,
        "confidence_intervals": {**found["confidence_intervals"], **intervals},
        "baseline": {**found["baseline"], "score": 0.66, "accuracy": 0.66, "f1_macro": 0.55},
        "search": {**found["search"], "search_score": 0.8, "confirmed_score": 0.81},
    }


def _row(trial_id: str) -> dict[str, Any]:
    score, f1_macro = SCORES[trial_id]
    return {
        "trial_id": trial_id,
        "status": Status.COMPLETED,
        "source": Source.DEFAULT if trial_id == "t0000" else Source.SEARCH,
        **PARAMETERS[trial_id],
        **{"score": score, "f1_macro": f1_macro, "accuracy": score},
        **{"examples": runs.BUDGET, "epochs": 3.0, "seconds": 1.0},
    }


def _write_curves(run: Run) -> None:
    """Write two evaluations of each trial, the first at 90 % of its training and of its scores."""
    blank = dict.fromkeys(CURVE_COLUMNS, 0.5)
    with run.curves.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CURVE_COLUMNS)
        writer.writeheader()
        for trial_id, (score, f1_macro) in SCORES.items():
            for share in (0.9, 1.0):
                values = {"score": share * score, "f1_macro": share * f1_macro}
                at = {"trial_id": trial_id, "examples": round(share * runs.BUDGET)}
                writer.writerow({**blank, **values, **at, "collapsed": False})


def _candidate(trial_id: str, confirmed: tuple[float, float]) -> dict[str, Any]:
    (search_score, search_f1), (score, f1_macro) = SCORES[trial_id], confirmed
    return {
        **{"trial_id": trial_id, "parameters": PARAMETERS[trial_id], "epochs": 3.0},
        **{"search_score": search_score, "search_f1_macro": search_f1},
        **{"score": score, "f1_macro": f1_macro},
    }


def _confirmed(trial_id: str, means: tuple[float, float]) -> dict[str, Any]:
    score, f1_macro = means
    return {
        "parameters": PARAMETERS[trial_id],
        **{"score": [score, score], "f1_macro": [f1_macro, f1_macro]},
        **{"mean": score, "standard_error": 0.001},
    }
