"""Track a search in MLflow or Weights & Biases too: what is sent, and which library sends it.

A tracker has one run for the search, the parent, and one for each trial. Values alone are sent:
parameters, scores, errors and the report, whose texts of rows are left out unless the user allows
them.
"""

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from results.errors import RunError
from results.files import write_json
from results.parameter_values import format_value, short_model_names
from results.recommendation import recommend
from results.run import Run
from results.verdict import describe_result
from training.cli import hide_secrets

MLFLOW, WANDB = "mlflow", "wandb"

STATE_FILE = "tracker.json"
"""File of a run with the ids of its parent, by tracker."""

REPORT = "report.html"
"""Name of the report in a tracker."""

PROJECT = "severity-search"
"""MLflow's experiment, or the project of W&B, where the environment names none."""

# Read when the libraries are imported; a user's own value takes precedence.
_DEFAULTS = {
    MLFLOW: {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    },
    WANDB: {"WANDB_ERROR_REPORTING": "false"},  # Sentry and OpenTelemetry
}

Value = int | float | str


class RunEnding(Enum):
    """How a run ended, as trackers distinguish it."""

    FINISHED = auto()
    FAILED = auto()
    KILLED = auto()
    """It was interrupted, and may be resumed."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An evaluation."""

    examples: int
    """Training rows seen."""
    seconds: float
    """Since the trial started."""
    values: Mapping[str, float]
    """Finite values by name."""


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    """A trial as it is at one moment."""

    trial_id: str
    name: str
    """For people."""
    kind: str
    """`trial` or `confirmation`."""
    parameters: Mapping[str, Value]
    tags: Mapping[str, str]
    """Its status, its error and what else describes it."""
    points: Sequence[Point]
    ending: RunEnding | None = None
    """None: it is running."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a search, or its final evaluation, adds to the parent."""

    ending: RunEnding
    description: str
    """For people: what was found."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """The winner's parameters."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    report: str | None = None
    """The page `report.html`; None: it cannot be made."""


class Tracker(Protocol):
    """A library that tracks one search; its methods block, and raise whatever the library raises.

    Each may be called again after an error: nothing is sent twice.
    """

    def attach(self) -> bool:
        """Continue the parent of an earlier start; return whether there is one."""

    def open(self, parameters: Mapping[str, Value], running: Sequence[str]) -> None:
        """Continue or make the parent.

        Args:
            parameters: of the search, which no resume may change.
            running: ids of the trials that may be running; other runs that the tracker takes to be
                running were killed.
        """

    def sync(self, trial: TrackedTrial) -> None:
        """Make the trial's run equal to `trial`: its parameters, points and ending."""

    def conclude(self, outcome: Outcome) -> None:
        """Add the outcome to the parent and end it."""


def prepare_library(kind: str) -> None:
    """Import a tracker's library with its telemetry off, unless the environment turns that on.

    Raises:
        ImportError: it is not installed.
    """
    for name, value in _DEFAULTS[kind].items():
        os.environ.setdefault(name, value)
    importlib.import_module(kind)


def problem_of_tracker(kind: str) -> str | None:
    """Return why a tracker cannot be used, in one line; None: it can. No server is asked."""
    try:
        prepare_library(kind)
    except Exception as error:  # a broken installation raises whatever it likes
        return (
            f"output.tracker is {kind!r}, but its library cannot be imported ({error}); install it"
            f" by pip install 'severity-search[{kind}]', or set output.tracker to none"
        )
    if kind == MLFLOW:
        from results.mlflow_tracker import problem_of_uri

        return problem_of_uri()
    from results.wandb_tracker import problem_of_login

    return problem_of_login()


def make_tracker(kind: str, run: Run) -> Tracker:
    """Return the tracker of a run; nothing is sent yet."""
    if kind == MLFLOW:
        from results.mlflow_tracker import MlflowTracker

        return MlflowTracker(run)
    from results.wandb_tracker import WandbTracker

    return WandbTracker(run)


def read_parent(run: Run, kind: str) -> dict[str, Any]:
    """Return what a tracker wrote about its runs; empty: nothing, or the file is damaged."""
    try:
        found = json.loads((run.directory / STATE_FILE).read_text("utf-8"))[kind]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_parent(run: Run, kind: str, ids: Mapping[str, Any]) -> None:
    """Write what a tracker must know about its runs; what the other one wrote is kept.

    Raises:
        OSError: the file cannot be written.
    """
    known = {name: read_parent(run, name) for name in (MLFLOW, WANDB)}
    kept = {name: value for name, value in {**known, kind: dict(ids)}.items() if value}
    write_json(run.directory / STATE_FILE, kept)


def outcome_of_search(
    run: Run, record: Mapping[str, Any], ending: RunEnding, *, with_texts: bool
) -> Outcome:
    """Return what a search adds to its parent; one that may be resumed has no report yet.

    Args:
        run: the run, whose files are complete.
        record: content of `search.json`.
        ending: how the search ended.
        with_texts: whether the report may contain texts of rows.
    """
    best = record["best"] or {}
    is_killed = ending is RunEnding.KILLED
    found = describe_result(record) if best else ()
    return Outcome(
        ending=ending,
        description="\n".join([f"search {record['status']}", *found]),
        values={
            f"winner.{name}": value
            if isinstance(value, int | float)
            else format_value(value, short_model_names(record))
            for name, value in best.get("parameters", {}).items()
        },
        metrics=_numbers({"winner.score": best.get("score")}),
        tags={"status": record["status"], "winner": best.get("trial_id", "none")},
        report=None if is_killed else _report(run, record, with_texts=with_texts),
    )


def outcome_of_test(
    run: Run, record: Mapping[str, Any], report: Mapping[str, Any], *, with_texts: bool
) -> Outcome:
    """Return what the evaluation on the test set adds to the parent .

    Args:
        run: the run.
        record: content of `search.json`.
        report: content of `evaluation_report.json`.
        with_texts: whether the report may contain texts of rows.
    """
    verdict = recommend(run, record, report)
    return Outcome(
        ending=RunEnding.FINISHED,
        description="\n".join([verdict.sentence, *map(str, verdict.next_steps), report["summary"]]),
        metrics=_numbers(
            {
                "test.score": report["score"],
                "test.accuracy": report["accuracy"],
                "test.baseline_score": report["baseline"]["score"],
            }
        ),
        tags={"verdict": verdict.kind.value},
        report=_report(run, record, with_texts=with_texts),
    )


def tracker_name(kind: str) -> str:
    """Return the name of a tracker, for people."""
    return {MLFLOW: "MLflow", WANDB: "Weights & Biases"}[kind]


def describe_error(error: BaseException) -> str:
    """Return an error of a tracker in one line without passwords."""
    return hide_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:300]


def _report(run: Run, record: Mapping[str, Any], *, with_texts: bool) -> str | None:
    from results.report.page import build_report  # which loads Plotly

    try:
        return build_report(run, record, with_texts=with_texts)
    except RunError:
        return None  # the warning of `write_report` names the reason


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
