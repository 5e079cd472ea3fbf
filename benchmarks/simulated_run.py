"""Files of a simulated search with successive halving, to test and measure reports and readers.

Scores are a smooth function of three parameters with noise, and no model's.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.older_runs import OBJECTIVE
from results.run import CURVE_COLUMNS, Run
from results.trial_states import SearchStatus, Source, Status, StoppedBy

ROWS, PER_EPOCH, EPOCHS = 8000, 4, 6
RUNGS = (ROWS, 3 * ROWS)
SPACE = {
    "learning_rate": {"log_uniform": [1e-4, 1e-2]},
    "batch_size": {"choice": [8, 16, 32]},
    "warmup_steps": {"uniform": [0.0, 0.3]},
}


@dataclass(frozen=True, kw_only=True)
class _Trial:
    trial_id: str
    source: Source
    status: Status
    stopped_by: StoppedBy
    parameters: dict[str, float]
    curve: list[float]
    """Score at each evaluation."""


def write_simulated_run(directory: Path, num_trials: int, *, seed: int = 0) -> dict[str, Any]:
    """Write `trials.csv` and `curves.csv`; a third of the trials is promoted at each rung.

    Args:
        directory: of the run; is created.
        num_trials: including trial 0, which runs to the end.
        seed: of all random numbers.

    Returns:
        The content of `search.json`.
    """
    run = Run(directory)
    run.directory.mkdir(parents=True)
    trials = list(_trials(num_trials, np.random.default_rng(seed)))
    run.write_trials(tuple(SPACE), map(_row, trials))
    blank = dict.fromkeys(CURVE_COLUMNS, 0.5)
    with run.curves.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CURVE_COLUMNS)
        writer.writeheader()
        for trial in trials:
            for number, score in enumerate(trial.curve, 1):
                known = {"trial_id": trial.trial_id, **_scores(score), "collapsed": False}
                examples = number * ROWS // PER_EPOCH
                writer.writerow({**blank, **known, "examples": examples})
    record = _record(trials)
    run.write_record(record)
    return run.read_record()


def _trials(count: int, generator: np.random.Generator) -> Iterator[_Trial]:
    for number in range(count):
        parameters = {
            "learning_rate": float(10 ** generator.uniform(-4, -2)),
            "batch_size": int(generator.choice([8, 16, 32])),
            "warmup_steps": float(generator.uniform(0, 0.3)),
        }
        end = 0.7 - 0.2 * (np.log10(parameters["learning_rate"]) + 3.2) ** 2
        passed = 2 if number == 0 else int((generator.random(2) < 1 / 3).cumprod().sum())
        last = (*(rung // ROWS for rung in RUNGS), EPOCHS)[passed] * PER_EPOCH
        noise = generator.normal(0, 0.02, last)
        yield _Trial(
            trial_id=f"t{number:04d}",
            source=Source.SEARCH if number else Source.DEFAULT,
            status=Status.COMPLETED if passed == 2 else Status.STOPPED,
            stopped_by=StoppedBy.NOBODY if passed == 2 else StoppedBy.SCHEDULER,
            parameters=parameters,
            curve=[float(end * (1 - 0.6 / k) + noise[k - 1]) for k in range(1, last + 1)],
        )


def _row(trial: _Trial) -> dict[str, Any]:
    evaluations = len(trial.curve)
    last = {**_scores(trial.curve[-1]), "accuracy": 0.7, "peak_f1_macro": max(trial.curve)}
    spent = {"epochs": evaluations / PER_EPOCH, "examples": evaluations * ROWS // PER_EPOCH}
    known = {key: value for key, value in asdict(trial).items() if key not in _NOT_IN_ROW}
    return {**known, **trial.parameters, **last, **spent, "seconds": 2.5 * evaluations}


def _scores(score: float) -> dict[str, float]:
    """Return the cells of a score; simulated searches decide by the default metric."""
    return {"score": score, OBJECTIVE["name"]: score}


_NOT_IN_ROW = ("parameters", "curve")


def _record(trials: list[_Trial]) -> dict[str, Any]:
    full = [trial for trial in trials if trial.status == Status.COMPLETED]
    best = max(full, key=lambda trial: trial.curve[-1])
    return {
        **{"status": SearchStatus.COMPLETED, "seconds": 3600.0, "command": "none: simulated"},
        "repeatable": True,
        "objective": OBJECTIVE,
        "data": {
            **{"path": "none", "sha256": "0" * 64, "rows": ROWS, "kept": ROWS, "dropped": {}},
            "class_counts": {"train": {"no": ROWS // 2, "yes": ROWS // 2}},
        },
        "search": {
            **{"algorithm": "random", "scheduler": "asha", "reduction_factor": 3, "space": SPACE},
            **{"rows_per_epoch": ROWS, "budget": ROWS * EPOCHS, "rungs": list(RUNGS)},
        },
        "environment": {"packages": {}},
        "trials": {
            **{"requested": len(trials), "completed": len(full), "failed": 0},
            "stopped_early": len(trials) - len(full),
        },
        "best": {**_candidate(best), "at_edge": []},
        "default": _candidate(trials[0]),
        "confirmation": None,
    }


def _candidate(trial: _Trial) -> dict[str, Any]:
    score = trial.curve[-1]
    return {
        **{"trial_id": trial.trial_id, "parameters": trial.parameters, "epochs": float(EPOCHS)},
        **_scores(score),
        **{f"search_{name}": value for name, value in _scores(score).items()},
    }
