import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from results.errors import RunError
from results.overview import read_overview
from results.run import Run, create_run
from results.status_text import describe
from tests.tuning.builders import FACTS, files_of, trial
from tuning.status import main
from tuning.trials import Trial

OTHER = {"learning_rate": 0.002, "batch_size": 32}


PLAN = {"rows_per_epoch": 1000, "budget": 3000, "rungs": [500, 1500], "ends_at_last_rung": True}


def recorded(directory: Path, trials: list[Trial], **facts: Any) -> Run:
    run = create_run(directory, "run")
    files_of(run, trials, facts=FACTS | facts)[0].write()
    return run


def report_of(run: Run) -> list[str]:
    return list(describe(read_overview(run, is_alive=run.is_locked()), datetime.now(UTC)))


def lines(run: Run) -> dict[str, str]:
    return {line.split()[0]: line for line in report_of(run)}


def test_trials_are_counted_by_state_and_the_best_is_held_against_the_default(
    tmp_path: Path,
) -> None:
    run = recorded(
        tmp_path,
        [
            trial(0, (3000, 0.50), status="completed"),
            trial(1, (3000, 0.60), status="completed", parameters=OTHER),
            trial(2, (500, 0.90), status="stopped"),
            trial(3, (250, 0.10)),
            trial(4, source="confirm", parameters=OTHER),
        ],
    )
    with run.lock():
        found = lines(run)
    assert found["status"].startswith("status    running, ")
    assert found["trials"] == "trials    4 of 6 started: 2 completed, 1 stopped early, 1 running"
    assert found["confirm"] == "confirm   1 started: 1 running"
    assert found["best"] == "best      t0001 (learning_rate 0.002, batch_size 32): macro-F1 0.6000"
    assert found["default"] == "default   macro-F1 0.5000; the best leads by +10.00 points"


def test_running_trials_are_reported_with_their_present_process(tmp_path: Path) -> None:
    trials = [trial(0, (3000, 0.5), status="completed"), trial(1), trial(2)]
    run = recorded(tmp_path, trials)
    for trial_id, host in (("t0000", "a"), ("t0001", "a"), ("t0001", "b")):
        where = {"node": host, "address": "10.0.0.1", "process": 7, "actor_id": "f00"}
        run.append_worker({"trial_id": trial_id, "at": "2026-01-01T00:00:00+00:00", **where})
    assert not any(line.startswith("worker") for line in report_of(run))  # no process runs it
    with run.lock():
        found = report_of(run)
    assert [line for line in found if line.startswith("worker")] == [
        "worker    t0001 on b (10.0.0.1), process 7, actor f00, since 2026-01-01T00:00:00+00:00"
    ]


def test_a_search_whose_process_is_gone_is_distinguished_from_a_running_one(tmp_path: Path) -> None:
    run = recorded(tmp_path, [trial(0)])
    assert "its process was lost" in lines(run)["status"]
    with run.lock():
        assert "lost" not in lines(run)["status"]


def test_before_the_first_score_there_is_no_best(tmp_path: Path) -> None:
    found = lines(recorded(tmp_path, [trial(0, (500, 0.5))]))
    assert found["best"] == "best      no trial has ended with a score yet"


def test_the_default_may_be_the_best_and_may_have_failed(tmp_path: Path) -> None:
    alone = recorded(tmp_path / "a", [trial(0, (3000, 0.5), status="completed")])
    assert lines(alone)["default"] == "default   nothing better has been found"
    failed = recorded(
        tmp_path / "b",
        [trial(0, status="failed"), trial(1, (3000, 0.6), status="completed", parameters=OTHER)],
    )
    assert lines(failed)["default"] == "default   has no comparable score yet"


def test_trials_that_ended_at_the_last_rung_were_not_stopped_early(tmp_path: Path) -> None:
    at_end = {"status": "stopped", "stopped_by": "confirmation"}
    early = {"status": "stopped", "stopped_by": "scheduler"}
    run = recorded(
        tmp_path,
        [
            trial(0, (1000, 0.3), (1500, 0.5), **at_end),
            trial(1, (1000, 0.5), (1500, 0.7), parameters=OTHER, **at_end),
            trial(2, (500, 0.2), parameters=OTHER | {"batch_size": 16}, **early),
            trial(3, (250, 0.1)),
        ],
        search=PLAN,
    )
    with run.lock():
        found = report_of(run)
    assert "trials    4 of 6 started: 2 ended at the last rung, 1 stopped early, 1 running" in found
    assert [line for line in found if line.startswith(("rung", "running", "default"))] == [
        "default   macro-F1 0.4000; the best leads by +20.00 points",
        "rung      0.5 epochs: 3 reached, 2 promoted, 1 stopped early",
        "rung      1.5 epochs, the last rung: 2 reached",
        "running   t0003 0.25 of 1.5 epochs, macro-F1 0.1000",
    ]
    (best,) = [line for line in found if line.startswith("best")]
    assert best.endswith("macro-F1 0.6000 after 1.5 of 3 epochs")
    assert run.read_whole_record()["trials"] == {
        **{"requested": 6, "completed": 0, "stopped_early": 3, "failed": 0},
        "ended_at_last_rung": 2,
    }


def test_the_last_events_of_the_log_are_reported(tmp_path: Path) -> None:
    run = recorded(tmp_path, [])
    run.log.parent.mkdir()
    line = "2026-01-01 10:00:0{0},000 INFO tuning.log_lines: trial t000{0} completed: 1 s\n"
    run.log.write_text("".join(line.format(number) for number in range(9)))
    events = [line for line in report_of(run) if line.startswith("event")]
    assert events == [
        f"event     10:00:0{number} trial t000{number} completed: 1 s" for number in range(4, 9)
    ]


def test_status_changes_no_file_of_the_run(tmp_path: Path) -> None:
    run = recorded(tmp_path, [trial(0)])
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}
    report_of(run)
    assert {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")} == before


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no search wrote it"):
        main(["--run", str(tmp_path)])
    with pytest.raises(RunError, match="no such directory"):
        main(["--run", str(tmp_path / "none")])


def test_following_ends_with_the_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path, [trial(0)])
    with run.lock():
        follower = threading.Thread(target=main, args=(["--run", str(run.directory), "--follow"],))
        follower.start()
        time.sleep(0.3)
        assert follower.is_alive()
        run.write_record({**run.read_record(), "status": "completed"})
    follower.join(timeout=10)
    assert not follower.is_alive()
    printed = capsys.readouterr().out
    assert printed.count("status    running") == 1
    assert printed.count("status    completed") == 1


def test_the_command_needs_no_ray_and_answers_at_once(tmp_path: Path) -> None:
    run = recorded(tmp_path, [trial(0)])
    code = (
        "import sys; from tuning.status import main;"
        "main(['--run', sys.argv[1]]);"
        "assert not {'ray', 'torch', 'transformers'} & set(sys.modules), 'too much is loaded'"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(run.directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "trials    1 of 6 started" in ended.stdout
