"""Runs in pandas, in one line each."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.simulated_run import write_simulated_run
from results.errors import RunError
from results.load import load_run, load_runs
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


def test_empty_cells_are_not_a_number_and_the_test_is_read(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record())
    write_reports(run, evaluation_report())
    loaded = load_run(run.directory)
    assert pd.isna(loaded.trials.set_index("trial_id")["score"]["t0002"])
    assert loaded.test is not None
    assert loaded.test["score"] == 0.7


def test_a_running_search_is_read_without_the_line_that_is_being_written(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record(status="running"))
    with run.curves.open("a", encoding="utf-8") as file:
        file.write("t0001,9000,9.0,1,0.1")
    before = run.curves.read_bytes()
    assert load_run(run.directory).curves["examples"].max() == 3000
    assert run.curves.read_bytes() == before


def test_several_runs_are_told_apart_by_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_simulated_run(tmp_path / name, 5)
    loaded = load_runs(tmp_path / "a", tmp_path / "b")
    assert loaded.trials.columns[0] == "run"
    assert loaded.trials.groupby("run").size().to_dict() == {"a": 5, "b": 5}
    assert set(loaded.curves["run"]) == {"a", "b"}
    write_simulated_run(tmp_path / "other" / "a", 5)
    with pytest.raises(RunError, match="two of the runs are named 'a'"):
        load_runs(tmp_path / "a", tmp_path / "other" / "a")


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such directory"):
        load_run(tmp_path / "nowhere")
    run = small_run(tmp_path / "run")
    run.write_record(record())
    reports = write_reports(run, evaluation_report())
    (reports / "evaluation_report.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        load_run(run.directory)
