"""Records and rows of searches, for the tests of their overviews."""

from typing import Any

from results.older_runs import OBJECTIVE
from results.overview import Event, Overview, overview_of
from results.trial_states import SearchStatus, Source, Status, StoppedBy

LOCATION = "/runs/first"
WORKER = {"node": "alpha", "address": "10.0.0.1", "process": "7", "actor_id": "f00", "at": "now"}


def row(number: int, status: str, examples: int, **changes: Any) -> dict[str, str]:
    """A row of `trials.csv`; an epoch has 1,000 training rows."""
    stopped_by = StoppedBy.SCHEDULER if status == Status.STOPPED else StoppedBy.NOBODY
    fields = {
        "trial_id": f"t{number:04d}",
        "status": status,
        "source": Source.SEARCH if number else Source.DEFAULT,
        "score": "0.5",
        "examples": str(examples),
        "epochs": str(examples / 1000),
        "stopped_by": stopped_by,
    }
    return {**fields, **changes}


def record(**changes: Any) -> dict[str, Any]:
    """A record of a running search of 8 trials, rungs at 0.5 and 1.5 of 3 epochs."""
    parameters = {"learning_rate": 1e-3, "batch_size": 16}
    candidate = {"parameters": parameters, "epochs": 3.0}
    return {
        "status": SearchStatus.RUNNING,
        "objective": OBJECTIVE,
        "seconds": 100.0,
        "trials": {"requested": 8},
        "examples_trained": {"search": 9000, "confirmation": 0},
        "search": {"rows_per_epoch": 1000, "budget": 3000, "rungs": [500, 1500]},
        "progress": {
            "phase": "search",
            "at": "2026-01-01T00:00:00.000+00:00",
            "waiting": [],
            "rows_per_second": 90.0,
            "seconds_left": 130.0,
            "time_budget_s": None,
        },
        "best": candidate | {"trial_id": "t0001", "score": 0.6, "search_score": 0.6},
        "default": candidate | {"trial_id": "t0000", "score": 0.5, "search_score": 0.5},
        **changes,
    }


ROWS = [
    row(0, Status.COMPLETED, 3000),
    row(1, Status.COMPLETED, 3000),
    row(2, Status.STOPPED, 500),
    row(3, Status.STOPPED, 1500),
    row(4, Status.FAILED, 250),
    row(5, Status.RUNNING, 750),
    row(6, Status.RUNNING, 0, score=""),
]


def overview(
    rows: list[dict[str, str]] = ROWS, events: tuple[Event, ...] = (), **changes: Any
) -> Overview:
    workers = [{"trial_id": "t0005", **WORKER}]
    return overview_of(record(**changes), rows, workers, events, location=LOCATION, is_alive=True)
