"""Searches in a real MLflow with SQLite, read back by its own client."""

import json
from pathlib import Path
from typing import Any

import pytest

from results.mlflow_tracker import MlflowTracker, problem_of_uri
from results.run import Run
from results.tracking import MLFLOW, RunEnding, prepare_library
from tests.results.tracked import make_outcome, make_trial

prepare_library(MLFLOW)

import mlflow  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that all tests of the file share: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def run(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose searches are an experiment of their own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    monkeypatch.chdir(tmp_path)  # artefacts of a database without a server are written there
    directory = tmp_path / "my run"
    directory.mkdir()
    return Run(directory)


def _runs(run: Run) -> dict[str, Any]:
    """All runs of the experiment by name."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(run.directory.parent.name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    names = [one.info.run_name for one in found]
    assert len(set(names)) == len(names), f"duplicates: {names}"
    return dict(zip(names, found, strict=True))


def _history(found: Any, name: str) -> list[tuple[int, float]]:
    points = MlflowClient().get_metric_history(found.info.run_id, name)
    return [(point.step, point.value) for point in points]


def _opened(run: Run, *running: str) -> MlflowTracker:
    tracker = MlflowTracker(run)
    tracker.open({"data": "tweets.csv", "seed": 42}, running)
    return tracker


def test_a_search_is_a_parent_with_a_run_a_trial(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial("t0000", num_points=1))
    tracker.sync(make_trial("t0000", num_points=3, ending=RunEnding.FINISHED))
    tracker.sync(make_trial("t0001", ending=RunEnding.FAILED, error="ValueError: bad"))
    tracker.conclude(make_outcome(learning_rate=2e-5, schedule="linear"))
    found = _runs(run)
    parent, first, second = found["my run"], found["t0000 search"], found["t0001 search"]
    assert [one.info.status for one in (parent, first, second)] == ["FINISHED"] * 2 + ["FAILED"]
    assert first.data.params == {
        "learning_rate": "2e-05",
        "batch_size": "16",
        "schedule": "linear",
    }
    assert _history(first, "score") == [(100, 0.1), (200, 0.2), (300, 0.3)]
    assert _history(first, "eval_loss") == [(100, 1.0), (200, 0.5), (300, 1 / 3)]
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert first.data.tags["trial_id"] == "t0000"
    assert second.data.tags["error"] == "ValueError: bad"
    assert parent.data.params == {
        **{"data": "tweets.csv", "seed": "42"},
        **{"winner.learning_rate": "2e-05", "winner.schedule": "linear"},
    }
    assert parent.data.metrics == {"winner.score": 0.75}
    assert parent.data.tags["mlflow.note.content"] == "the winner is t0000"
    page = MlflowClient().download_artifacts(parent.info.run_id, "report.html")
    assert Path(page).read_text("utf-8") == "<title>Search \u2713</title>"


def test_the_run_of_the_user_is_left_alone(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial())
    assert mlflow.active_run() is None


def test_a_resumed_search_continues_its_runs_without_duplicates(run: Run) -> None:
    before = _opened(run)
    before.sync(make_trial("t0000", num_points=2, ending=RunEnding.FINISHED))
    before.sync(make_trial("t0001", num_points=2))
    before.sync(make_trial("t0002", num_points=1, ending=RunEnding.KILLED))
    parent = _runs(run)["my run"].info.run_id
    after = _opened(run, "t0001", "t0002")  # the process was killed
    after.sync(make_trial("t0000", num_points=2, ending=RunEnding.FINISHED))
    after.sync(make_trial("t0001", num_points=4, ending=RunEnding.FINISHED))
    after.sync(make_trial("t0002", num_points=1))
    found = _runs(run)
    assert found["my run"].info.run_id == parent
    assert len(found) == 4
    assert found["t0002 search"].info.status == "RUNNING"
    assert [step for step, _ in _history(found["t0001 search"], "score")] == [100, 200, 300, 400]
    assert [step for step, _ in _history(found["t0002 search"], "score")] == [100]


def test_runs_of_trials_that_the_search_does_not_know_are_ended_as_killed(run: Run) -> None:
    _opened(run).sync(make_trial("t0007"))
    _opened(run, "t0001")
    found = _runs(run)
    assert found["t0007 search"].info.status == "KILLED"
    assert found["my run"].info.status == "RUNNING"


def test_a_point_that_is_sent_again_is_the_same_point(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial(num_points=3))
    child = tracker._children["t0000"]
    child._examples = 0  # as after an error in the middle of a request
    child.add(make_trial(num_points=3).points)
    assert [step for step, _ in _history(_runs(run)["t0000 search"], "score")] == [100, 200, 300]


def test_more_values_than_a_request_takes_arrive(run: Run) -> None:
    tracker = _opened(run)
    tracker.sync(make_trial(num_points=1200))
    assert len(_history(_runs(run)["t0000 search"], "score")) == 1200


def test_another_winner_after_more_trials_is_a_tag(run: Run) -> None:
    _opened(run).conclude(make_outcome(learning_rate=2e-5))
    tracker = _opened(run)
    tracker.conclude(make_outcome(learning_rate=3e-5))
    parent = _runs(run)["my run"]
    assert parent.data.params["winner.learning_rate"] == "2e-05"
    assert parent.data.tags["winner.learning_rate"] == "3e-05"
    assert parent.info.status == "FINISHED"


def test_the_test_scores_are_added_to_the_parent_of_the_search(run: Run) -> None:
    _opened(run).conclude(make_outcome())
    later = MlflowTracker(run)
    assert later.attach()
    later.conclude(make_outcome(RunEnding.FINISHED))
    assert list(_runs(run)) == ["my run"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"mlflow": 3}',
        '{"mlflow": {"parent": "../x"}}',
        '{"mlflow": {"parent": {}, "tracking_uri": []}}',
    ],
)
def test_a_damaged_file_of_ids_gives_a_new_parent(run: Run, content: str) -> None:
    (run.directory / "tracker.json").write_text(content)
    assert not MlflowTracker(run).attach()
    _opened(run).sync(make_trial())
    assert sorted(_runs(run)) == ["my run", "t0000 search"]


def test_ids_of_another_server_are_not_used_there(run: Run) -> None:
    _opened(run)
    file = run.directory / "tracker.json"
    ids = json.loads(file.read_text())
    ids["mlflow"]["tracking_uri"] = "https://evil.example"
    file.write_text(json.dumps(ids))
    assert not MlflowTracker(run).attach()


def test_a_parent_that_was_deleted_is_made_again(run: Run) -> None:
    _opened(run)
    MlflowClient().delete_run(_runs(run)["my run"].info.run_id)
    assert not MlflowTracker(run).attach()


@pytest.fixture
def given_uri(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize("uri", ["./mlruns", "file:///data/mlruns", "/data/mlruns"])
def test_the_store_of_plain_files_which_mlflow_refuses_is_named_before_the_search(
    given_uri: pytest.MonkeyPatch, uri: str
) -> None:
    given_uri.setenv("MLFLOW_TRACKING_URI", uri)
    problem = problem_of_uri()
    assert problem is not None
    assert uri in problem
    assert "set MLFLOW_TRACKING_URI to a database, such as sqlite:///mlflow.db" in problem
    given_uri.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert problem_of_uri() is None


@pytest.mark.parametrize(
    "uri", ["", "sqlite:///mlflow.db", "http://localhost:5000", "postgresql+psycopg://a:b@c/d"]
)
def test_databases_and_servers_are_not_asked_before_the_search(
    given_uri: pytest.MonkeyPatch, uri: str
) -> None:
    given_uri.setenv("MLFLOW_TRACKING_URI", uri)
    assert problem_of_uri() is None
    assert list(Path.cwd().iterdir()) == []


def test_the_password_of_a_server_is_written_nowhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(mlflow.exceptions.MlflowException):
        _opened(run)
    assert MlflowTracker(run)._uri == "https://***@127.0.0.1:1"
