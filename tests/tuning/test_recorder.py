import time
from pathlib import Path

import pytest

from results.files import read_csv
from results.new_run import create_run
from results.run import Run
from tests.tuning.builders import FACTS, completed, configuration
from tuning.recorder import Recorder

CONFIG = configuration()


def _recorder(run: Run) -> Recorder:
    recorder = Recorder(run=run, configuration=CONFIG, facts=FACTS, requested=6)
    recorder.write()
    return recorder


def test_files_that_take_long_are_not_written_again_for_each_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "run")
    recorder, now = _recorder(run), time.monotonic()
    recorder._write_s = 1.0  # as if there were thousands of trials
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(3):
        recorder.changed(completed(number, 0.5))
        recorder.catch_up()
    assert read_csv(run.trials) == []
    # Nothing is lost if the power fails now.
    assert [row["status"] for row in run.read_trials()] == ["completed"] * 3
    now += 20  # a twentieth of the time is the most
    recorder.catch_up()
    assert len(read_csv(run.trials)) == 3
    assert run.read_record()["trials"]["completed"] == 3
    assert not run.changes.exists()
    stamp = run.trials.stat().st_mtime_ns
    now += 1000
    recorder.catch_up()  # nothing has changed
    assert run.trials.stat().st_mtime_ns == stamp


def test_the_end_writes_whatever_is_left(tmp_path: Path) -> None:
    run = create_run(tmp_path, "run")
    recorder = _recorder(run)
    recorder._write_s = 1000.0
    recorder.changed(completed(0, 0.5))
    recorder.finish("interrupted")
    assert len(read_csv(run.trials)) == 1
    assert not run.changes.exists()
