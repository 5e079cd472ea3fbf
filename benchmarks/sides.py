"""The sides of the throughput benchmark, each in a process of its own.

`python -m benchmarks.sides SIDE CONTEST RESULT`: A and B search with
`Trainer.hyperparameter_search(backend="ray")`, C with this program.

A is the study's way: a data set padded to `max_length`, the Trainer's defaults. It is given its
texts tokenised before the search, which such data sets often do at each access. B is what somebody
would do who knows the Trainer well: padding of each batch to its own longest row, rows grouped by
length, larger evaluation batches, bfloat16 where a GPU has it, workers used again.
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
"""States of trials that were trained to the end, of which `seconds` is the training alone."""
_LINE = re.compile(r"^(t\d{4}) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO (begins|ends)")


def main(side: str, contest_file: str, result_file: str) -> None:
    """Run one side and write down its trials."""
    contest = load(Path(contest_file))
    ours = side == "C"
    trials = search_with_ours(contest) if ours else search_with_trainer(contest, tuned=side == "B")
    Path(result_file).write_text(json.dumps(trials), encoding="utf-8")


def search_with_ours(contest: Contest) -> list[dict[str, Any]]:
    """Search with this program.

    Returns:
        A trial each: `began`, `ended` (seconds since 1970) of its training, `process`, `score`,
        `rows` seen, `padding` (word pieces with it over those without).
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
        process, began, ended = spans[row["trial_id"]]
        # The training proper lies at the end of what the worker does for a trial.
        trials.append(
            {
                "process": process,
                "began": ended - float(row["seconds"]) if row["status"] in _WHOLE else began,
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
    """Word pieces of an epoch's batches, padding included, over those of the rows."""
    batches = order_batches(lengths, batch_size=batch_size, seed=0, epoch=0)
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return padded / float(lengths.sum())


def _spans(logs: Path) -> dict[str, tuple[str, float, float]]:
    """By trial: its process, and when that one says that the trial begins and ends."""
    said: dict[str, dict[str, float]] = {}
    processes: dict[str, str] = {}
    for file in logs.rglob("worker-*.out"):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if found := _LINE.match(line):
                trial, at, what = found.groups()
                moment = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp()
                said.setdefault(trial, {})[what] = moment
                processes[trial] = file.stem
    return {
        trial: (processes[trial], moments["begins"], moments.get("ends", moments["begins"]))
        for trial, moments in said.items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
