"""What a tracker is sent of real searches: a recorded one, and one that is killed and resumed."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from results.files import read_csv
from results.run import Run
from results.tracking import MLFLOW, prepare_library
from results.trial_states import SearchStatus
from tests.results.tracked import OfflineRun, read_offline_run
from tests.tuning.searching import IN_TURN, run_here, search, start
from training.errors import InputError
from training.options import merge
from tuning import tracking
from tuning.config import Configuration
from tuning.resume import recall_trials
from tuning.start import build, read_configuration
from tuning.tracking import Tracking, check_tracker, trackers

prepare_library(MLFLOW)

import mlflow  # noqa: E402
import wandb  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

RECORDED = Path(__file__).parents[1] / "run-0.2.0"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(Path(shutil.copytree(RECORDED, tmp_path / "run")))
    (run.directory / "logs").mkdir()
    return run


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path / "artefacts"))
    return uri


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_DIR", raising=False)
    yield
    wandb.teardown()


def _configuration(run: Run, **output: Any) -> Configuration:
    return build(merge(read_configuration(run), {"output": output}))


def _send(run: Run, kind: str) -> None:
    configuration = _configuration(run, tracker=kind)
    store = recall_trials(run, configuration)
    Tracking(run, configuration, store).closed(SearchStatus.COMPLETED)


def _mlflow_runs(uri: str) -> dict[str, Any]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("severity-search")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len({one.info.run_name for one in found}) == len(found), "duplicates"
    return {one.data.tags.get("trial_id", "parent"): one for one in found}


def _check_against_files(run: Run, found: dict[str, Any], uri: str) -> None:
    """Every trial of the run's files has a run of its parameters, curve and status."""
    trials, curves = run.read_trials(), run.read_curves()
    assert sorted(found) == sorted([*(row["trial_id"] for row in trials), "parent"])
    for row in trials:
        one = found[row["trial_id"]]
        assert one.info.status == ("FAILED" if row["status"] == "failed" else "FINISHED")
        assert one.data.tags["status"] == row["status"]
        assert one.data.tags["mlflow.parentRunId"] == found["parent"].info.run_id
        assert one.data.tags["kind"] == ("confirmation" if row["source"] == "confirm" else "trial")
        assert float(one.data.params["learning_rate"]) == float(row["learning_rate"])
        assert one.data.params["seed"] == row["seed"]
        points = MlflowClient(uri).get_metric_history(one.info.run_id, "score")
        assert [(point.step, point.value) for point in points] == [
            (int(point["examples"]), float(point["score"]))
            for point in curves
            if point["trial_id"] == row["trial_id"]
        ]


def test_mlflow_has_the_trials_curves_and_winner_of_a_recorded_search(run: Run, uri: str) -> None:
    _send(run, "mlflow")
    found = _mlflow_runs(uri)
    _check_against_files(run, found, uri)
    parent, record = found["parent"], run.read_record()
    assert parent.info.status == "FINISHED"
    assert parent.data.params["winner.learning_rate"] == str(
        record["best"]["parameters"]["learning_rate"]
    )
    assert "winner t000" in parent.data.tags["mlflow.note.content"]
    (page,) = MlflowClient(uri).list_artifacts(parent.info.run_id)
    assert page.path == "report.html"
    assert mlflow.active_run() is None


@pytest.mark.usefixtures("_offline")
def test_wandb_has_the_trials_curves_and_winner_of_a_recorded_search(run: Run) -> None:
    _send(run, "wandb")
    wandb.teardown()  # waits until the files are written
    directories = (run.directory / "logs" / "wandb").glob("offline-run-*")
    found: list[OfflineRun] = [read_offline_run(one) for one in directories]
    assert Counter(one.kind for one in found) == {
        "search": 1,
        **Counter(
            "confirmation" if row["source"] == "confirm" else "trial" for row in run.read_trials()
        ),
    }
    assert {one.exit_code for one in found} == {0}
    num_points = {one.name[:5]: len(one.history) for one in found if one.kind != "search"}
    assert num_points == Counter(row["trial_id"] for row in run.read_curves())
    (parent,) = (one for one in found if one.kind == "search")
    best = run.read_record()["best"]["parameters"]
    assert json.loads(parent.config["winner.batch_size"]) == best["batch_size"]
    assert (parent.files / "report.html").exists()


def test_texts_of_rows_leave_only_if_the_user_allows_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def outcome(*_: object, with_texts: bool) -> None:
        asked.append(with_texts)

    class Thread:
        def __init__(self, *_: object) -> None:
            pass

        def submit(self, _: object) -> None:
            pass

        def close(self, *_: object) -> None:
            pass

    monkeypatch.setattr(tracking, "outcome_of_search", outcome)
    monkeypatch.setattr(tracking, "TrackerThread", Thread)
    for allowed in ({}, {"tracker_texts": False}, {"tracker_texts": True}):
        configuration = _configuration(run, tracker="mlflow", **allowed)
        store = recall_trials(run, configuration)
        Tracking(run, configuration, store).closed(SearchStatus.COMPLETED)
    assert asked == [False, False, True]


def test_without_a_tracker_nothing_watches(run: Run) -> None:
    configuration = _configuration(run)
    assert trackers(run, configuration, recall_trials(run, configuration)) == []
    check_tracker(configuration)


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_library_that_is_not_installed_is_one_error_with_the_command(
    run: Run, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, kind, None)
    with pytest.raises(InputError) as refused:
        check_tracker(_configuration(run, tracker=kind))
    (line,) = refused.value.problems
    assert f"output.tracker is '{kind}', but its library cannot be imported" in line
    assert f"pip install 'severity-search[{kind}]'" in line


def test_a_search_with_a_tracker_that_cannot_be_used_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    output = ("--output.directory", str(tmp_path / "runs"), "--output.tracker", "mlflow")
    ended = run_here(monkeypatch, capsys, *output)
    assert ended.code == 2
    assert "MLflow refuses its store of plain files" in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_search_that_was_killed_and_resumed_is_one_parent_without_duplicates(
    tmp_path: Path, uri: str
) -> None:
    options = (*IN_TURN, "--output.tracker", "mlflow")
    run = Run(tmp_path / "run")
    started = start(tmp_path, "run", *options)
    started.wait_until_started(_as_written(run), "t0001")
    started.process.send_signal(signal.SIGKILL)
    started.ended()
    before = _mlflow_runs(uri)
    assert before["parent"].info.status == "RUNNING"
    ended, _ = search(tmp_path, "run", "--resume")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = _mlflow_runs(uri)
    assert found["parent"].info.run_id == before["parent"].info.run_id
    for trial_id, one in before.items():
        assert found[trial_id].info.run_id == one.info.run_id
    _check_against_files(run, found, uri)
    assert found["parent"].info.status == "FINISHED"
    assert len(read_csv(run.trials)) + 1 == len(found)


def _as_written(run: Run) -> Any:
    from tests.tuning.searching import Run as WrittenRun

    return WrittenRun(directory=run.directory)
