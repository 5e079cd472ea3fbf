import time
from pathlib import Path

import pytest

from results.files import read_csv
from results.run import create_run
from results.trial_states import SearchStatus
from tests.tuning.builders import completed
from tests.tuning.recording import files_of, live


def test_files_that_take_long_are_not_written_again_for_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "run")
    files, policy = files_of(run)
    files.write()
    now = time.monotonic()
    files._write_s = 1.0  # as if there were thousands of trials
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(3):
        trial = completed(number, 0.5)
        policy.store.add(trial)
        files.ended(trial)
        files.idle()
    assert read_csv(run.trials) == []
    # Nothing is lost if the power fails now.
    assert [row["status"] for row in run.read_trials()] == ["completed"] * 3
    now += 20  # a twentieth of the time is the most
    files.idle()
    assert len(read_csv(run.trials)) == 3
    assert run.read_record()["trials"]["completed"] == 3
    assert not run.changes.exists()
    stamp = run.trials.stat().st_mtime_ns
    now += 1000
    files.idle()  # nothing has changed
    assert run.trials.stat().st_mtime_ns == stamp


def test_the_end_writes_whatever_is_left(tmp_path: Path) -> None:
    run = create_run(tmp_path, "run")
    files, policy = files_of(run)
    files.write()
    files._write_s = 1000.0
    live(files, policy, completed(0, 0.5))
    files.closed(SearchStatus.INTERRUPTED)
    assert len(read_csv(run.trials)) == 1
    assert not run.changes.exists()


def test_a_completed_search_has_its_winner_written_and_another_one_has_not(tmp_path: Path) -> None:
    for status in (SearchStatus.INTERRUPTED, SearchStatus.COMPLETED):
        run = create_run(tmp_path, status.value)
        files, policy = files_of(run)
        live(files, policy, completed(0, 0.5))
        files.closed(status)
        assert run.read_record()["status"] == status
        assert run.best.exists() == (status == SearchStatus.COMPLETED)
