"""Whole searches with a real Ray: their files, and that they repeat, stop, resume and fail."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.faults import fakes
from tests.tuning.hparams_page import read_page
from tests.tuning.searching import IN_TURN, Run, Whole, search, start
from tests.tuning.tables import SMALL, table
from training.config import DataConfig, ModelConfig, TrainingConfig
from training.options import read_yaml, validate
from training.schedule import schedule_of
from tuning import worker_pool
from tuning.command_line import read_command
from tuning.config import Configuration
from tuning.rungs import plan_of
from tuning.search import main


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def whole(directory: Path) -> Whole:
    """Run a small search to its end, one trial at a time."""
    return search(directory, "whole", *IN_TURN)


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """The state of a search that Ctrl-C ended in its second trial."""

    code: int
    output: str
    status: str
    trials: pd.DataFrame
    processes_before: int
    processes_after: list[str]


@pytest.fixture(scope="module")
def interrupted(directory: Path) -> Interrupted:
    """Run the search of `whole` and interrupt it."""
    started = start(directory, "interrupted", *IN_TURN)
    run = Run(directory=directory / "interrupted")
    started.wait_until_started(run, "t0001")
    before = len(started.processes())
    os.killpg(started.process.pid, signal.SIGINT)
    code, out, err = started.ended()
    deadline = time.monotonic() + 20
    while started.processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    return Interrupted(
        code=code,
        output=out + err,
        status=run.record["status"],
        trials=run.trials,
        processes_before=before,
        processes_after=started.processes(),
    )


def configuration_of(run: Run) -> Configuration:
    return read_command(["--config", str(run.directory / "config.yaml")])[2]


def test_a_completed_search_prints_the_next_step(
    whole: Whole,
) -> None:
    ended, run = whole
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    assert " ended at the last rung (after 1.75 of 2 epochs), " in ended.stdout
    last = ended.stdout.splitlines()[-1]
    assert last == f"Next: python -m evaluation.final --run {run.directory}"


def test_a_search_writes_every_file_that_scripts_rely_on(
    whole: Whole,
) -> None:
    _, run = whole
    for name in ("config.yaml", "search.json", "trials.csv", "curves.csv", "splits.csv"):
        assert (run.directory / name).stat().st_size > 0, name
    for name in ("best.yaml", "report.html", "logs/search.log"):
        assert (run.directory / name).stat().st_size > 0, name
    events = {path.parent.name for path in run.directory.glob("logs/tensorboard/*/events*")}
    assert events == set(run.trials.index)
    assert not (run.directory / ".ray").exists()


def test_tensorboard_has_every_trial_with_its_parameters_and_score(
    whole: Whole,
) -> None:
    _, run = whole
    sessions = read_page(run.directory / "logs" / "tensorboard").sessions
    assert set(sessions) == set(run.trials.index)
    columns = ["learning_rate", "batch_size", "source", "replicate"]
    for trial_id, trial in run.trials.iterrows():
        session = sessions[str(trial_id)]
        assert session.values == trial[columns].to_dict()
        assert session.metrics == pytest.approx(trial[["score", "examples"]].to_dict())
        assert session.status == "success"


def test_the_record_counts_trials_rows_and_replicates(
    whole: Whole,
) -> None:
    _, run = whole
    record, trials = run.record, run.trials
    assert record["status"] == "completed"
    assert record["repeatable"] is True
    assert record["command"].startswith("python -m tuning.search --config ci")
    counts = record["trials"]
    at_last_rung = (trials["stopped_by"] == "confirmation").sum()
    assert (counts["requested"], counts["ended_at_last_rung"]) == (4, at_last_rung)
    assert counts["completed"] + counts["stopped_early"] + counts["failed"] == 4
    assert record["examples_trained"] == {
        "search": run.rows("default", "search")["examples"].sum(),
        "confirmation": run.rows("confirm")["examples"].sum(),
    }
    assert record["default"]["trial_id"] == "t0000"
    assert record["default"]["search_epochs"] == trials.loc["t0000", "epochs"]
    assert record["default"]["epochs"] == 2.0
    assert record["best"]["trial_id"] in trials.index
    assert len(record["confirmation"]["replicates"]) == 2
    for candidate in record["confirmation"]["candidates"]:
        assert candidate["mean"] == pytest.approx(sum(candidate["f1_macro"]) / 2)


def test_trial_0_comes_first_and_ends_at_the_last_rung_while_confirmations_run_to_the_end(
    whole: Whole,
) -> None:
    _, run = whole
    trials = run.trials
    assert list(trials.index) == [f"t{number:04d}" for number in range(len(trials))]
    first = trials.iloc[0]
    assert (first["source"], first["stopped_by"]) == ("default", "confirmation")
    assert first["epochs"] == pytest.approx(1.75, abs=0.02)  # the first step at or after the rung
    assert set(trials["source"].iloc[1:4]) == {"search"}
    assert set(trials["source"].iloc[4:]) == {"confirm"}
    assert set(run.rows("confirm")["epochs"]) == {2.0}


def test_evaluations_fall_at_the_first_step_at_or_after_each_point_of_the_plan(
    whole: Whole,
) -> None:
    _, run = whole
    configuration = configuration_of(run)
    num_rows = sum(run.record["data"]["class_counts"]["train"].values())
    plan = plan_of(configuration, num_rows)
    curves = run.curves.groupby("trial_id")["examples"]
    for trial_id, trial in run.rows("default", "search").iterrows():
        schedule = schedule_of(
            configuration.training.model_copy(update={"batch_size": int(trial["batch_size"])}),
            num_rows,
        )
        due = [schedule.examples_after(schedule.step_at(point)) for point in plan.points]
        reached = curves.get_group(trial_id).tolist()
        assert reached == due[: len(reached)]
        if trial["status"] == "completed":
            assert reached[-1] == plan.budget
        if trial["stopped_by"] == "confirmation":
            assert reached[-2] < plan.rungs[-1] <= reached[-1]
        if trial["stopped_by"] == "scheduler":
            assert plan.rungs_between(reached[-2], reached[-1])


def test_the_winner_s_file_holds_data_model_and_training(
    whole: Whole,
) -> None:
    _, run = whole
    best = read_yaml(run.directory / "best.yaml")
    assert set(best) == {"data", "model", "training"}
    validate(DataConfig, best["data"], where="best.yaml")
    validate(ModelConfig, best["model"], where="best.yaml")
    training = validate(TrainingConfig, best["training"], where="best.yaml")
    parameters = run.record["best"]["parameters"]
    assert {name: getattr(training, name) for name in parameters} == parameters


@pytest.mark.slow
@pytest.mark.long
def test_its_own_configuration_repeats_a_search_to_the_last_digit_in_another_process(
    whole: Whole, directory: Path
) -> None:
    _, first = whole
    ended, second = search(directory, "again", "--config", str(first.directory / "config.yaml"))
    assert ended.returncode == 0, ended.stderr
    for name in ("trials.csv", "curves.csv"):
        pair = [(r.directory / name).read_text().splitlines() for r in (first, second)]
        tables = [pd.read_csv(r.directory / name, dtype=str) for r in (first, second)]
        assert len(pair[0]) == len(pair[1])
        pd.testing.assert_frame_equal(*(t.drop(columns="seconds") for t in tables))
    assert (first.directory / "splits.csv").read_text() == (
        second.directory / "splits.csv"
    ).read_text()


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_ends_a_search_with_exit_code_130_and_its_results_on_disk(
    interrupted: Interrupted,
) -> None:
    assert interrupted.code == 130, interrupted.output
    assert "Traceback" not in interrupted.output
    assert "--resume --name interrupted" in interrupted.output
    assert interrupted.status == "interrupted"
    assert list(interrupted.trials["status"]) == ["stopped", "running"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the list of processes")
@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_leaves_no_process_of_the_search_behind(interrupted: Interrupted) -> None:
    assert interrupted.processes_before > 2
    assert interrupted.processes_after == []


@pytest.mark.long
@pytest.mark.slow
def test_a_resumed_search_ends_as_if_it_had_never_been_interrupted(
    interrupted: Interrupted, whole: Whole, directory: Path
) -> None:
    ended, run = search(directory, "interrupted", "--resume")
    assert ended.returncode == 0, ended.stderr
    assert run.record["status"] == "completed"
    log = (run.directory / "logs" / "search.log").read_text()
    assert log.count(": trial t0000 started: ") == 1  # it had completed
    assert ": trial t0001 resumed after " in log or log.count(": trial t0001 started: ") == 2
    assert run.trials.loc["t0000", "seconds"] == interrupted.trials.loc["t0000", "seconds"]
    columns = ["status", "source", "learning_rate", "batch_size", "f1_macro", "examples"]
    pd.testing.assert_frame_equal(run.trials[columns], whole[1].trials[columns])
    assert not run.curves.duplicated(["trial_id", "examples"]).any()


@pytest.mark.slow
@pytest.mark.long
def test_trials_that_fail_with_one_error_end_the_search_with_one_line_and_exit_code_4(
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(worker_pool, "run_trial", fakes.run_trial_with_a_broken_library)
    mine = ["--data", table(tmp_path), *SMALL, "--trials", "9"]
    where = ["--output.directory", str(directory), "--name", "failing"]
    assert main([*mine, *where, "--search.confirm_replicates", "0"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: the first trials all failed with the same error: RuntimeError: fake: a library is"
    )
    run = Run(directory=directory / "failing")
    assert run.record["status"] == "aborted"
    assert (run.trials["status"] == "failed").sum() == 3
    assert len(run.trials) < 9


@pytest.mark.slow
@pytest.mark.long
def test_a_time_budget_that_allows_no_score_ends_with_exit_code_4(directory: Path) -> None:
    ended, run = search(directory, "late", *IN_TURN, "--search.time_budget_s", "1")
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("error: no trial ended with a score")
    assert run.record["status"] == "aborted"
    assert run.record["best"] is None
