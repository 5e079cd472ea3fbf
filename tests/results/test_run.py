import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from results.errors import RunError
from results.older_runs import OBJECTIVE
from results.run import Run, check_new_run, create_run, newest_unfinished, open_run

EVALUATION = {
    **{"trial_id": "t0000", "examples": 100, "epoch": 0.1, "seconds": 1.5, "train_loss": 1.0},
    **{
        "eval_loss": 1.1,
        "score": 0.4,
        "f1_macro": 0.1 + 0.2,
        "accuracy": 0.5,
        "learning_rate": 1e-3,
    },
    "collapsed": False,
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path / "runs", "first")


def test_the_files_of_a_run_have_the_names_that_scripts_rely_on(run: Run) -> None:
    names = {
        run.config: "config.yaml",
        run.record: "search.json",
        run.trials: "trials.csv",
        run.curves: "curves.csv",
        run.splits: "splits.csv",
        run.best: "best.yaml",
        run.report: "report.html",
        run.log: "logs/search.log",
        run.tensorboard: "logs/tensorboard",
    }
    assert {path: str(path.relative_to(run.directory)) for path in names} == names


def test_a_new_run_needs_a_new_directory(run: Run) -> None:
    for make in (create_run, check_new_run):
        with pytest.raises(RunError, match="holds a run of that name"):
            make(run.directory.parent, "first")


@pytest.mark.parametrize("below", ["", "runs", "a/b/c"])
def test_a_file_in_the_way_of_the_directory_is_an_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    for make in (create_run, check_new_run):
        with pytest.raises(RunError, match=r"output.directory is .* cannot be written"):
            make(tmp_path / "file" / below, "first")


def test_a_name_that_the_file_system_refuses_is_an_error(tmp_path: Path) -> None:
    for make in (create_run, check_new_run):
        with pytest.raises(RunError, match="cannot be written"):
            make(tmp_path, "x" * 300)


def test_the_check_creates_nothing(tmp_path: Path) -> None:
    check_new_run(tmp_path / "a" / "b", "first")
    check_new_run(tmp_path / "a" / "b", None)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such directory"):
        open_run(tmp_path / "none")


def test_paths_of_a_run_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = create_run(Path("runs"), "first")
    assert made.directory == tmp_path / "runs" / "first"
    assert open_run(Path("runs/first")) == made


def test_the_newest_run_that_is_not_completed_is_found(tmp_path: Path) -> None:
    for name, status, at in (
        ("a", "running", "2026-01-02T00:00:00"),
        ("b", "aborted", "2026-01-01T00:00:00"),
        ("c", "completed", "2026-01-03T00:00:00"),
    ):
        create_run(tmp_path, name).write_record({"status": status, "started_at": at})
    create_run(tmp_path, "torn").record.write_text("{")
    assert newest_unfinished(tmp_path).directory.name == "a"
    with pytest.raises(RunError, match="no unfinished run"):
        newest_unfinished(tmp_path / "none")


def test_a_record_is_read_as_it_was_written(run: Run) -> None:
    run.write_record({"status": "running", "name": "Ujaran · ꦲ", "none": None})
    assert run.read_record() == {
        **{"schema_version": 1, "status": "running", "name": "Ujaran · ꦲ", "none": None},
        "objective": OBJECTIVE,
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot be read"),
        ("[]", "schema_version None"),
        ('{"schema_version": 99}', "schema_version 99"),
    ],
)
def test_a_record_that_cannot_be_used_is_an_error_of_one_line(
    run: Run, content: str, problem: str
) -> None:
    run.record.write_text(content)
    with pytest.raises(RunError) as refused:
        run.read_record()
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_directory_without_record_and_configuration_is_no_run(run: Run) -> None:
    with pytest.raises(RunError, match="no search wrote it"):
        run.read_record()


def test_nan_is_not_written_into_a_record(run: Run) -> None:
    run.write_record({"status": "running"})
    with pytest.raises(ValueError, match="JSON"):
        run.write_record({"loss": float("nan")})
    assert json.loads(run.record.read_text())["status"] == "running"


def test_evaluations_are_appended_under_one_header_with_every_digit(run: Run) -> None:
    for examples in (100, 200):
        run.append_evaluation({**EVALUATION, "examples": examples})
    assert len(run.curves.read_text().splitlines()) == 3
    assert [row["examples"] for row in run.read_curves()] == ["100", "200"]
    assert float(run.read_curves()[0]["f1_macro"]) == 0.1 + 0.2


def test_an_incomplete_last_line_is_removed_before_the_next_is_appended(run: Run) -> None:
    run.append_evaluation(EVALUATION)
    with run.curves.open("a") as file:
        file.write("t0001,10")
    assert len(run.read_curves()) == 1
    run.append_evaluation({**EVALUATION, "trial_id": "t0002"})
    assert [row["trial_id"] for row in run.read_curves()] == ["t0000", "t0002"]


def test_trials_are_replaced_with_the_searched_fields_as_columns(run: Run) -> None:
    rows = [{"trial_id": "t0000", "status": "failed", "batch_size": 8, "error": 'a "b", c\nd'}]
    run.write_trials(["batch_size"], rows)
    run.write_trials(["batch_size"], rows)
    (row,) = run.read_trials()
    assert list(row)[:5] == ["trial_id", "status", "source", "batch_size", "score"]
    assert (row["batch_size"], row["error"], row["f1_macro"]) == ("8", 'a "b", c\nd', "")


def test_a_table_without_its_columns_is_an_error(run: Run) -> None:
    run.trials.write_text("trial_id,status\nt0000,failed\n")
    with pytest.raises(RunError, match="column source is missing"):
        run.read_trials()
    run.trials.write_bytes(b"trial_id\n\xff\n")
    with pytest.raises(RunError, match="cannot be read"):
        run.read_trials()


def test_a_run_is_written_by_one_process_at_a_time(run: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from results.run import open_run\n"
        "run = open_run(Path(sys.argv[1]))\n"
        "print(run.is_locked())\n"
        "with run.lock(): print('locked')\n"
    )
    command = [sys.executable, "-c", code, os.fspath(run.directory)]
    with run.lock():
        assert run.is_locked()
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.stdout == "True\n"
    assert "another process is writing it" in other.stderr
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert other.stdout == "False\nlocked\n"


def test_a_run_that_no_process_locks_is_not_locked(run: Run) -> None:
    assert not run.is_locked()
    assert list(run.directory.iterdir()) == []


def test_only_temporary_files_of_killed_processes_are_removed(run: Run) -> None:
    run.write_record({"status": "running"})
    kept = {path.name for path in run.directory.iterdir()} | {".lock"}
    for name in (".lock", ".search.json.x1y2z3", ".trials.csv.abcdefgh"):
        (run.directory / name).write_text("half")
    run.remove_leftovers()
    assert {path.name for path in run.directory.iterdir()} == kept


def test_evaluations_of_unknown_trials_are_dropped(run: Run) -> None:
    for trial_id in ("t0000", "t0001", "t0000"):
        run.append_evaluation(EVALUATION | {"trial_id": trial_id})
    run.keep_curves_of({"t0000", "t0001"})
    assert [row["trial_id"] for row in run.read_curves()] == ["t0000", "t0001", "t0000"]
    run.keep_curves_of({"t0000"})
    assert [row["trial_id"] for row in run.read_curves()] == ["t0000", "t0000"]
    assert float(run.read_curves()[0]["f1_macro"]) == EVALUATION["f1_macro"]


def _trial(number: int, status: str, *, error: str = "") -> dict[str, object]:
    return {
        **{"trial_id": f"t{number:04d}", "status": status, "source": "search"},
        **{"learning_rate": 1e-3, "error": error, "seed": 42, "split_seed": 1, "replicate": 0},
    }


def _statuses(run: Run) -> dict[str, str]:
    return {row["trial_id"]: row["status"] for row in run.read_trials()}


def test_trials_that_changed_since_the_table_was_written_are_read_with_it(run: Run) -> None:
    run.write_trials(["learning_rate"], [_trial(0, "running"), _trial(1, "running")])
    for row in (_trial(1, "failed", error='a "b", c'), _trial(2, "running"), _trial(2, "stopped")):
        run.append_trial(["learning_rate"], row)
    assert _statuses(run) == {"t0000": "running", "t0001": "failed", "t0002": "stopped"}
    assert run.read_trials()[1]["error"] == 'a "b", c'
    run.write_trials(["learning_rate"], [_trial(number, "completed") for number in range(3)])
    assert not run.changes.exists()
    assert set(_statuses(run).values()) == {"completed"}


def test_without_a_table_its_changes_are_the_trials(run: Run) -> None:
    run.append_trial(["learning_rate"], _trial(0, "running"))
    assert _statuses(run) == {"t0000": "running"}


def test_a_change_that_a_crash_cut_is_left_out(run: Run) -> None:
    run.write_trials(["learning_rate"], [_trial(0, "running")])
    run.append_trial(["learning_rate"], _trial(0, "completed"))
    run.append_trial(["learning_rate"], _trial(1, "running"))
    content = run.changes.read_bytes()
    for length in range(content.rindex(b"t0001"), len(content) - 1):
        run.changes.write_bytes(content[:length])
        assert _statuses(run)["t0000"] == "completed"
        run.remove_leftovers()
        run.append_trial(["learning_rate"], _trial(2, "running"))
        assert _statuses(run) == {"t0000": "completed", "t0002": "running"}
