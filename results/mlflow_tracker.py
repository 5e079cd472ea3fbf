"""Track a search in MLflow, through its `MlflowClient`.

The fluent API (`mlflow.start_run`) has one active run in a process, which belongs to the user: it
is neither read nor set.
"""

import importlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from results.run import Run
from results.tracking import (
    MLFLOW,
    PROJECT,
    REPORT,
    Outcome,
    Point,
    RunEnding,
    TrackedTrial,
    Value,
    read_parent,
    write_parent,
)
from training.cli import hide_secrets

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient

_PARENT, _NOTE, _TRIAL = "mlflow.parentRunId", "mlflow.note.content", "trial_id"
_RUNNING = "RUNNING"
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

_MOST_METRICS, _MOST_PARAMETERS = 1000, 100
"""Entries in a request, limits of MLflow's REST API."""
_LONGEST_VALUE = 5000
"""Characters; MLflow takes 6000 of a parameter and 8000 of a tag."""

_LOCAL_FILES = ("", "file")


def problem_of_uri() -> str | None:
    """Return why the tracking URI cannot be used, in one line; None: it may be. No server is asked.

    MLflow's store of plain files is refused by MLflow itself unless MLFLOW_ALLOW_FILE_STORE is set.
    """
    from mlflow.tracking import get_tracking_uri

    uri = get_tracking_uri()
    uri_text, scheme = hide_secrets(uri), uri.partition(":")[0] if ":" in uri else ""
    allows_files = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    if scheme in _LOCAL_FILES and not allows_files:
        return (
            f"output.tracker is 'mlflow', but MLflow refuses its store of plain files ({uri_text});"
            " set MLFLOW_TRACKING_URI to a database, such as sqlite:///mlflow.db, or to a server,"
            " such as http://localhost:5000"
        )
    if scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql"):
        try:
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
        except ImportError as error:
            return (
                f"output.tracker is 'mlflow', but its store in a database ({uri_text}) cannot be"
                f" imported ({error}); install it by pip install 'severity-search[mlflow]'"
            )
    return None


class _Child:
    """The run of a trial in MLflow."""

    def __init__(self, client: "MlflowClient", found: "MlflowRun") -> None:
        """Take the run as the server describes it."""
        self._client = client
        self._run_id: str = found.info.run_id
        self._started_ms: int = found.info.start_time
        self._has_parameters = bool(found.data.params)
        self._examples: int | None = None  # training rows of the last point there; None: not known
        self.status: str = found.info.status
        """MLflow's: RUNNING, FINISHED, FAILED or KILLED."""

    def describe(self, trial: TrackedTrial) -> None:
        """Send the parameters, once, and the tags."""
        if not self._has_parameters:
            _log_parameters(self._client, self._run_id, trial.parameters)
            self._has_parameters = True
        self._client.log_batch(self._run_id, tags=_tags(trial.tags))

    def add(self, points: Sequence[Point]) -> None:
        """Send the points that MLflow does not have."""
        if self._examples is None:
            self._examples = self._last_examples(points)
        new = [point for point in points if point.examples > self._examples]
        # Times follow from the trial's own, so that a point that is sent again is the same.
        entries = [
            _metric(name, value, self._started_ms + int(point.seconds * 1000), point.examples)
            for point in new
            for name, value in point.values.items()
        ]
        for first in range(0, len(entries), _MOST_METRICS):
            self._client.log_batch(self._run_id, metrics=entries[first : first + _MOST_METRICS])
        if new:
            self._examples = new[-1].examples

    def resume(self) -> None:
        """Let it run again, if it had ended."""
        if self.status != _RUNNING:
            self._client.update_run(self._run_id, status=_RUNNING)
            self.status = _RUNNING

    def end(self, ending: RunEnding) -> None:
        """End it."""
        self._client.set_terminated(self._run_id, ending.name)
        self.status = ending.name

    def _last_examples(self, points: Sequence[Point]) -> int:
        """Return the training rows of the last whole point that MLflow has; 0: none."""
        names = {name for point in points for name in point.values}
        found = self._client.get_run(self._run_id).data.metrics.keys() & names
        histories = [self._client.get_metric_history(self._run_id, name) for name in found]
        return min((max(metric.step for metric in one) for one in histories), default=0)


class MlflowTracker:
    """One search in MLflow; used by one thread at a time."""

    def __init__(self, run: Run) -> None:
        """Prepare for a run; the first call connects."""
        self._run = run
        self._parent = ""
        self._experiment = ""
        self._children: dict[str, _Child] = {}
        self._known_client: MlflowClient | None = None

    def attach(self) -> bool:
        """Continue the parent whose id the run holds, if this server has it.

        The server is that of the environment, never one that a file of the run names.
        """
        from mlflow.exceptions import MlflowException

        known = read_parent(self._run, MLFLOW)
        if known.get("tracking_uri") != self._uri or not _ID.fullmatch(known.get("parent", "")):
            return False
        try:
            found = self._client.get_run(known["parent"])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if found.info.lifecycle_stage != "active":
            return False
        self._parent, self._experiment = found.info.run_id, found.info.experiment_id
        return True

    def open(self, parameters: Mapping[str, Value], running: Sequence[str]) -> None:
        """Continue or make the parent; end the runs of trials that were killed."""
        if self.attach():
            self._client.update_run(self._parent, status=_RUNNING)
        else:
            self._experiment = self._find_experiment()
            name = self._run.directory.name
            parent = self._client.create_run(self._experiment, run_name=name)
            self._parent = parent.info.run_id
            ids = {"tracking_uri": self._uri, "parent": self._parent}
            write_parent(self._run, MLFLOW, ids)
        _log_parameters(self._client, self._parent, parameters)
        self._children = {
            found.data.tags[_TRIAL]: _Child(self._client, found) for found in self._find_children()
        }
        for trial_id, child in self._children.items():
            if child.status == _RUNNING and trial_id not in running:
                child.end(RunEnding.KILLED)

    def sync(self, trial: TrackedTrial) -> None:
        """Make the trial's run equal to `trial`."""
        child = self._children.get(trial.trial_id)
        if child is None:
            child = self._children[trial.trial_id] = self._start(trial)
        elif trial.ending is not None and child.status == trial.ending.name:
            return  # it had ended in an earlier start
        child.resume()
        child.describe(trial)
        child.add(trial.points)
        if trial.ending is not None:
            child.end(trial.ending)

    def conclude(self, outcome: Outcome) -> None:
        """Add the outcome to the parent and end it.

        A parameter cannot be changed in MLflow: where more trials were added to a completed search
        and another winner was found, its parameters are tags.
        """
        before = self._client.get_run(self._parent).data.params
        changed = {k: str(v) for k, v in outcome.values.items() if before.get(k, str(v)) != str(v)}
        values = {k: v for k, v in outcome.values.items() if k not in changed}
        _log_parameters(self._client, self._parent, values)
        tags = {**changed, **outcome.tags, _NOTE: outcome.description}
        now_ms = int(time.time() * 1000)
        metrics = [_metric(name, value, now_ms, 0) for name, value in outcome.metrics.items()]
        self._client.log_batch(self._parent, metrics=metrics, tags=_tags(tags))
        if outcome.report is not None:
            self._client.log_text(self._parent, outcome.report, REPORT)
        self._client.set_terminated(self._parent, outcome.ending.name)

    @property
    def _client(self) -> "MlflowClient":
        if self._known_client is None:
            from mlflow.tracking import MlflowClient

            self._known_client = MlflowClient()
        return self._known_client

    @property
    def _uri(self) -> str:
        return hide_secrets(str(self._client.tracking_uri))

    def _find_experiment(self) -> str:
        """Return the id of the experiment that the environment names, made if it is missing."""
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _find_children(self) -> Iterator["MlflowRun"]:
        """Yield the runs of trials under the parent."""
        page, query = None, f"tags.`{_PARENT}` = '{self._parent}'"
        while True:
            found = self._client.search_runs([self._experiment], query, page_token=page)
            yield from (one for one in found if _TRIAL in one.data.tags)
            page = found.token
            if not page:
                return

    def _start(self, trial: TrackedTrial) -> _Child:
        tags = {_PARENT: self._parent, _TRIAL: trial.trial_id, "kind": trial.kind}
        made = self._client.create_run(self._experiment, run_name=trial.name, tags=tags)
        return _Child(self._client, made)


def _log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, Value]) -> None:
    """Log parameters; those that the run has already must be the same."""
    entries = [_param(name, value) for name, value in parameters.items()]
    for first in range(0, len(entries), _MOST_PARAMETERS):
        client.log_batch(run_id, params=entries[first : first + _MOST_PARAMETERS])


def _metric(name: str, value: float, timestamp_ms: int, step: int) -> "Metric":
    from mlflow.entities import Metric

    return Metric(name, value, timestamp_ms, step)


def _param(name: str, value: Value) -> "Param":
    from mlflow.entities import Param

    return Param(name, str(value)[:_LONGEST_VALUE])


def _tags(values: Mapping[str, str]) -> list["RunTag"]:
    from mlflow.entities import RunTag

    return [RunTag(name, value[:_LONGEST_VALUE]) for name, value in values.items()]
