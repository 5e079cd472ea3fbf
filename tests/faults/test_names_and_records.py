"""Two searches of one name, lost records, changed configurations."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.evaluation.conftest import run_module
from tests.faults.breaking import (
    SHORT,
    Unbroken,
    kill_driver,
    num_evaluations,
    resume_run,
    wait_until,
)
from tests.tuning.searching import Run, search, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def copied(unbroken_confirmed: Unbroken, tmp_path: Path) -> Run:
    """Copy the search without interruption."""
    return Run(
        directory=Path(shutil.copytree(unbroken_confirmed.run.directory, tmp_path / "copied"))
    )


@pytest.mark.long
def test_a_second_search_of_the_same_name_is_refused_and_the_first_continues(runs: Path) -> None:
    run = Run(directory=runs / "twin")
    started = start(runs, "twin", *SHORT)
    wait_until(lambda: num_evaluations(run, "t0000") == 2, started)
    os.kill(started.process.pid, signal.SIGSTOP)  # so that it does not end too soon
    for arguments in (SHORT, ["--resume"]):
        ended, _ = search(runs, "twin", *arguments)
        assert ended.returncode == 2
        (line,) = ended.stderr.splitlines()
        assert "twin" in line
    final = run_module("evaluation.final", "--run", str(run.directory))
    assert final.code == 2
    assert "another process" in final.stderr or "is being written" in final.stderr
    kill_driver(started)
    resume_run(run)
    assert run.record["status"] == "completed"


@pytest.mark.long
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "cannot be read"),
        ('{"schema_version": 1, "status": "comp', "cannot be read"),
        ('{"schema_version": 99}', "schema_version 99"),
    ],
)
def test_an_incomplete_record_or_one_of_another_version_is_an_error_and_can_be_rebuilt(
    copied: Run, content: str, problem: str
) -> None:
    before = copied.record
    best = (copied.directory / "best.yaml").read_text()
    (copied.directory / "search.json").write_text(content)
    for module in ("tuning.status", "evaluation.final"):
        refused = run_module(module, "--run", str(copied.directory))
        assert refused.code == 2
        (line,) = refused.stderr.splitlines()
        assert problem in line
        assert "--rebuild" in line
    (copied.directory / "best.yaml").unlink()
    rebuilt = run_module("tuning.status", "--run", str(copied.directory), "--rebuild")
    assert rebuilt.code == 0, rebuilt.stderr
    after = copied.record
    same = ("status", "repeatable", "data", "trials", "examples_trained", "best", "default")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["confirmation"] == before["confirmation"]
    assert (copied.directory / "best.yaml").read_text() == best
    final = run_module("evaluation.final", "--run", str(copied.directory), "--gates", "none")
    assert final.code == 0, final.stderr


@pytest.mark.long
def test_a_record_lost_in_mid_search_is_rebuilt_and_the_search_resumed(
    runs: Path, unbroken: Unbroken
) -> None:
    run = Run(directory=runs / "record-lost")
    started = start(runs, "record-lost", *SHORT)
    wait_until(lambda: num_evaluations(run, "t0001") == 3, started)
    kill_driver(started)
    (run.directory / "search.json").unlink()
    rebuilt = run_module("tuning.status", "--run", str(run.directory), "--rebuild")
    assert rebuilt.code == 0, rebuilt.stderr
    assert run.record["status"] == "interrupted"
    resume_run(run)
    assert run.record["best"] == unbroken.run.record["best"]


def test_a_resume_with_another_configuration_is_refused_naming_the_fields(copied: Run) -> None:
    changed = ["--training.epochs", "5", "--search.seed", "9", "--data.min_confidence", "0.9"]
    before = json.dumps(copied.record)
    ended, _ = search(copied.directory.parent, "copied", "--resume", *changed)
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    for field in ("training.epochs", "search.seed", "data.min_confidence"):
        assert any(field in line for line in lines)
    assert json.dumps(copied.record) == before


@pytest.mark.long
def test_a_resume_may_have_more_trials_but_not_fewer_than_have_started(
    copied: Run,
) -> None:
    ended, _ = search(copied.directory.parent, "copied", "--resume", "--trials", "2")
    assert ended.returncode == 2
    assert "search.trials is 2, but 4 trials have started" in ended.stderr
    resume_run(copied, "--trials", "5")
    assert len(copied.rows("default", "search")) == 5
    assert copied.record["trials"]["requested"] == 5
