"""The sides of the throughput benchmark, each in a process of its own.

`python -m benchmarks.sides SIDE CONTEST RESULT`: A and B search with
`Trainer.hyperparameter_search(backend="ray")`, C with this program.

A is the study's way: a data set padded to `max_length`, the Trainer's defaults. Its texts are
tokenised before the search; such data sets often tokenise at each access. B has the settings of
somebody who knows the Trainer well: each batch padded to its own longest row, rows grouped by
length, larger evaluation batches, bfloat16 where a GPU has it, workers reused.
"""

import json
import logging
import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.contest import Contest, load
from benchmarks.peers import search_with_trainer
from results.trial_states import Status
from training.batches import order_batches

_WHOLE = (Status.COMPLETED, Status.COLLAPSED)
"""States of trials that were trained to the end; their `seconds` are the training alone."""
_LINE = re.compile(r"^(t\d{4}) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO (started|ended):")


def main(side: str, contest_file: str, result_file: str) -> None:
    """Run one side and write its trials to the result file."""
    contest = load(Path(contest_file))
    ours = side == "C"
    trials = search_with_ours(contest) if ours else search_with_trainer(contest, tuned=side == "B")
    Path(result_file).write_text(json.dumps(trials), encoding="utf-8")


def search_with_ours(contest: Contest) -> list[dict[str, Any]]:
    """Search with this program.

    Returns:
        For each trial start and end (seconds since 1970) of its training, `process`,
        `score`, `rows` trained, `padding` (tokens with padding over tokens without).
    """
    import ray

    from tuning.run_search import run_search

    logging.basicConfig(level=logging.ERROR)
    run = run_search(contest.configuration())
    assert not ray.is_initialized()
    rows = run.read_trials()
    spans = _spans(Path(os.environ["RAY_TMPDIR"]))
    assert len(spans) == len(rows), (len(spans), len(rows))
    trials, lengths = [], contest.lengths()
    for row in rows:
        process, started, ended = spans[row["trial_id"]]
        # The training itself is the last part of the worker's time for a trial.
        trials.append(
            {
                "process": process,
                "began": ended - float(row["seconds"]) if row["status"] in _WHOLE else started,
                "ended": ended,
                "score": float(row["score"]),
                "rows": int(row["examples"]),
                "learning_rate": float(row["learning_rate"]),
                "batch_size": int(row["batch_size"]),
                "padding": _padding(lengths, int(row["batch_size"])),
            }
        )
    return trials


def _padding(lengths: npt.NDArray[np.int64], batch_size: int) -> float:
    """Return the tokens of an epoch's batches with padding over the tokens without."""
    batches = order_batches(lengths, batch_size=batch_size, seed=0, epoch=0)
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return padded / float(lengths.sum())


def _spans(logs: Path) -> dict[str, tuple[str, float, float]]:
    """Return for each trial its process, and the start and end that the process logged."""
    logged: dict[str, dict[str, float]] = {}
    processes: dict[str, str] = {}
    for file in logs.rglob("worker-*.out"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := _LINE.match(line):
                trial, at, what = found.groups()
                moment = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp()
                logged.setdefault(trial, {})[what] = moment
                processes[trial] = file.stem
    return {
        trial: (processes[trial], moments["started"], moments.get("ended", moments["started"]))
        for trial, moments in logged.items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
