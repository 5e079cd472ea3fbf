"""Runs loaded into pandas; what describes their environment and their curves."""

from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.simulated_run import write_simulated_run
from results.environment import PACKAGES, describe_environment, hash_model
from results.errors import RunError
from results.load import load_run, load_runs
from results.tensorboard import CurveWriter
from tests.results.report.runs import evaluation_report, record, small_run, write_reports


def test_a_run_is_read_with_numbers_as_numbers_and_texts_as_texts(tmp_path: Path) -> None:
    written = write_simulated_run(tmp_path / "first", 20)
    run = load_run(tmp_path / "first")
    assert run.record == written
    assert len(run.trials) == 20
    assert run.trials["learning_rate"].between(1e-4, 1e-2).all()
    assert set(run.trials["batch_size"]) <= {8, 16, 32}
    assert list(run.trials["trial_id"][:2]) == ["t0000", "t0001"]
    assert run.trials["error"].eq("").all()
    best = run.trials.set_index("trial_id")["score"][written["best"]["trial_id"]]
    assert best == written["best"]["score"]
    assert run.curves.groupby("trial_id")["examples"].max()["t0000"] == 48_000
    assert run.curves["collapsed"].dtype == bool
    assert run.test is None


def test_empty_cells_are_nan_and_the_evaluation_report_is_loaded(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record())
    write_reports(run, evaluation_report())
    loaded = load_run(run.directory)
    assert pd.isna(loaded.trials.set_index("trial_id")["score"]["t0002"])
    assert loaded.test is not None
    assert loaded.test["score"] == 0.7


def test_an_incomplete_line_of_a_running_search_is_left_out(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record(status="running"))
    with run.curves.open("a", encoding="utf-8") as file:
        file.write("t0001,9000,9.0,1,0.1")
    before = run.curves.read_bytes()
    assert load_run(run.directory).curves["examples"].max() == 3000
    assert run.curves.read_bytes() == before


def test_several_runs_are_distinguished_by_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_simulated_run(tmp_path / name, 5)
    loaded = load_runs(tmp_path / "a", tmp_path / "b")
    assert loaded.trials.columns[0] == "run"
    assert loaded.trials.groupby("run").size().to_dict() == {"a": 5, "b": 5}
    assert set(loaded.curves["run"]) == {"a", "b"}
    write_simulated_run(tmp_path / "other" / "a", 5)
    with pytest.raises(RunError, match="two of the runs are named 'a'"):
        load_runs(tmp_path / "a", tmp_path / "other" / "a")


def test_a_directory_without_a_valid_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such directory"):
        load_run(tmp_path / "nowhere")
    run = small_run(tmp_path / "run")
    run.write_record(record())
    reports = write_reports(run, evaluation_report())
    (reports / "evaluation_report.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        load_run(run.directory)


def test_the_environment_names_versions_and_devices() -> None:
    found = describe_environment()
    assert set(found["packages"]) == set(PACKAGES)
    assert found["packages"]["torch"] == version("torch")
    assert found["devices"]
    assert found["commit"] is None or len(found["commit"]) == 40


def test_the_hash_of_a_model_changes_with_any_byte_or_name_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    first = hash_model(tmp_path)
    assert first is not None
    assert first == hash_model(tmp_path)
    (tmp_path / "b").write_bytes(b"twO")
    second = hash_model(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({first, second, hash_model(tmp_path)}) == 3


def test_only_a_directory_has_a_hash(tmp_path: Path) -> None:
    assert hash_model(tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert hash_model(tmp_path / "file") is None


def test_points_are_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    writer = CurveWriter(tmp_path / "t0000")
    for step in (100, 200):
        writer.write({"loss/train": 1 / step, "score": step / 1000}, step)
        events = EventAccumulator(str(tmp_path / "t0000"))
        events.Reload()
        assert [point.step for point in events.Scalars("score")][-1] == step
    writer.close()
    assert [round(point.value, 3) for point in events.Scalars("loss/train")] == [0.01, 0.005]
