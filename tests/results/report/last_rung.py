"""A run whose trials end at the last rung, rung 2 after 1.5 of 3 epochs.

t0002 has the best score there, but t0001 wins the confirmation, in which t0002 is dropped after the
first replicate. t0003 was stopped early with a score above all others.
"""

from pathlib import Path
from typing import Any

from results.run import Run
from results.trial_states import Source, Status, StoppedBy
from tests.results.report import runs

CURVES = {
    "t0000": [(500, 0.3), (1000, 0.4), (1500, 0.5)],
    "t0001": [(500, 0.4), (1000, 0.5), (1500, 0.7)],
    "t0002": [(500, 0.35), (1000, 0.52), (1500, 0.72)],
    "t0003": [(500, 0.9)],
}
PARAMETERS = {
    "t0000": runs.PARAMETERS,
    "t0001": {"learning_rate": 5e-4, "batch_size": 8},
    "t0002": {"learning_rate": 7e-4, "batch_size": 8},
    "t0003": {"learning_rate": 9e-4, "batch_size": 32},
}
CONFIRMED = {"t0000": [0.60, 0.62, 0.61], "t0001": [0.66, 0.70, 0.68], "t0002": [0.63, None, None]}
"""Scores on the replicates."""


def last_rung_run(directory: Path, **changes: Any) -> Run:
    """Write the files of the run; `changes` update its record."""
    run = Run(directory)
    run.directory.mkdir(parents=True)
    confirmed = {f"t{4 + k:04d}": trial_id for k, trial_id in enumerate(("t0000", "t0001"))}
    rows = [_row(trial_id, trial_id, curve[-1]) for trial_id, curve in CURVES.items()]
    rows += [_row(new, old, (runs.BUDGET, 0.65), Source.CONFIRM) for new, old in confirmed.items()]
    run.write_trials(tuple(runs.PARAMETERS), rows)
    runs.write_curves(run, CURVES | {new: [(runs.BUDGET, 0.65)] for new in confirmed})
    run.write_record(record(**changes))
    return run


def record(**changes: Any) -> dict[str, Any]:
    """Return the content of `search.json`."""
    found = runs.record()
    return {
        **found,
        "decision_rule": 2,
        "search": {**found["search"], "ends_at_last_rung": True},
        "trials": {
            **{"requested": 4, "completed": 0, "stopped_early": 4, "failed": 0},
            "ended_at_last_rung": 3,
        },
        "examples_trained": {"search": 5000, "confirmation": 7 * runs.BUDGET},
        "best": {**_candidate("t0001", 0.6, 0.68), "fixed_rows_loss": [0.5], "at_edge": []},
        "default": _candidate("t0000", 0.45, 0.61),
        "confirmation": {
            "replicates": [{"seed": k, "split_seed": k} for k in range(3)],
            "candidates": [_confirmed(trial_id) for trial_id in CONFIRMED],
            "score_correlation": 0.4,
            "smallest_detectable_difference": 0.02,
            "required_probabilities": {"3": 0.976, "4": 0.956, "5": 0.936},
            "winner_beats_default": {
                "leader": PARAMETERS["t0001"],
                **{"draws": 3, "leader_mean": 0.68, "default_mean": 0.61, "difference": 0.07},
                **{"standard_error": 0.01, "needed": 0.03, "replaces_default": True},
                **{"probability_of_lead": 0.991, "distinguishable": True},
            },
            "verdict": "the winner replaces the default",
        },
        **changes,
    }


def _row(trial_id: str, same: str, last: tuple[int, float], source: str = "") -> dict[str, Any]:
    examples, score = last
    is_early, is_confirmed = same == "t0003", source == Source.CONFIRM
    stopped_by = StoppedBy.SCHEDULER if is_early else StoppedBy.CONFIRMATION
    return {
        "trial_id": trial_id,
        "status": Status.COMPLETED if is_confirmed else Status.STOPPED,
        "source": source or (Source.SEARCH if int(same[1:]) else Source.DEFAULT),
        **PARAMETERS[same],
        **{"score": score, "f1_macro": score, "accuracy": score},
        **{"examples": examples, "epochs": examples / runs.ROWS, "seconds": 1.0},
        "stopped_by": "" if is_confirmed else stopped_by,
    }


def _candidate(trial_id: str, in_search: float, confirmed: float) -> dict[str, Any]:
    return {
        **{"trial_id": trial_id, "parameters": PARAMETERS[trial_id]},
        **{"search_score": in_search, "search_f1_macro": in_search, "search_epochs": 1.504},
        **{"score": confirmed, "f1_macro": confirmed, "epochs": 3.0},
    }


def _confirmed(trial_id: str) -> dict[str, Any]:
    scores = CONFIRMED[trial_id]
    known = [score for score in scores if score is not None]
    return {
        "parameters": PARAMETERS[trial_id],
        **{"score": scores, "f1_macro": scores, "mean": sum(known) / len(known)},
        "standard_error": 0.01 if len(known) > 1 else None,
        "collapsed_or_diverged": 0,
        "dropped_after": 1 if trial_id == "t0002" else None,
    }
