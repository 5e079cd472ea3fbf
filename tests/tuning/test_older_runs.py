"""Runs that version 0.2.0 left are read, rebuilt, resumed and evaluated by this one.

`tests/run-0.2.0` is what `python -m tuning.search --config ci --search.max_concurrent 1` wrote at
commit 4a8aacd; `tests/run-0.2.0-interrupted` is the same search after Ctrl-C in its second trial.
Checkpoints, logs and reports are left out; paths are shortened.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from results.compare import main as compare
from results.run import Run
from tests.evaluation.conftest import run_module
from tests.tuning import searching
from training.options import read_yaml
from tuning.resume import rebuild

RECORDED = Path(__file__).parents[1] / "run-0.2.0"
INTERRUPTED = Path(__file__).parents[1] / "run-0.2.0-interrupted"


@pytest.fixture
def old(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "old")))


def table(path: Path) -> pd.DataFrame:
    """A table of a run as it is written, without the times that no two searches share."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="seconds")


def confirmed_means(record: dict[str, Any]) -> list[float]:
    means: list[float] = [one["mean"] for one in record["confirmation"]["candidates"]]
    return means


def test_an_old_run_is_compared_with_itself(old: Run, capsys: pytest.CaptureFixture[str]) -> None:
    again = Path(shutil.copytree(old.directory, old.directory.with_name("again")))
    assert compare([str(old.directory), str(again)]) == 0
    told = capsys.readouterr().out
    assert "other splits" not in told
    assert told.count("0.389") >= 2  # the confirmed mean of each


def test_an_old_run_is_rebuilt_with_its_winner_trials_and_means(old: Run) -> None:
    before, winner = old.read_record(), read_yaml(old.best)
    tables = {path: table(path) for path in (old.trials, old.curves)}
    old.record.unlink()
    old.best.unlink()
    assert rebuild(old) == "completed"
    after = old.read_record()
    for name in ("trials", "examples_trained", "repeatable"):
        assert after[name] == before[name]
    for name in ("trial_id", "parameters", "search_f1_macro", "f1_macro", "epochs"):
        assert after["best"][name] == before["best"][name]
        assert after["default"][name] == before["default"][name]
    assert confirmed_means(after) == confirmed_means(before)
    assert after["confirmation"]["replicates"] == before["confirmation"]["replicates"]
    again = read_yaml(old.best)
    for section, fields in winner.items():
        assert {name: again[section][name] for name in fields} == fields
    for path, rows in tables.items():
        pd.testing.assert_frame_equal(table(path)[rows.columns], rows)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_old_interrupted_run_is_resumed_and_ends_as_the_one_without_a_break(
    tmp_path: Path,
) -> None:
    shutil.copytree(INTERRUPTED, tmp_path / "old")
    ended, run = searching.search(tmp_path, "old", "--resume")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert run.record["status"] == "completed"
    for name in ("trials.csv", "curves.csv"):
        expected = table(RECORDED / name)
        pd.testing.assert_frame_equal(table(run.directory / name)[expected.columns], expected)
    recorded = json.loads((RECORDED / "search.json").read_text("utf-8"))
    assert run.record["best"]["parameters"] == recorded["best"]["parameters"]
    assert confirmed_means(run.record) == confirmed_means(recorded)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_winner_of_an_old_run_is_retrained_and_evaluated(old: Run) -> None:
    final = run_module("evaluation.final", "--run", str(old.directory), "--gates", "none")
    assert final.code == 0, final.stdout + final.stderr
    reports = old.directory / "final" / "reports"
    assert (old.directory / "final" / "model" / "model.safetensors").is_file()
    report = json.loads((reports / "evaluation_report.json").read_text("utf-8"))
    classes = old.read_record()["data"]["class_counts"]["test"]
    assert {name: one["support"] for name, one in report["per_class"].items()} == classes
