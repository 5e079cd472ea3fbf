"""The processes of trials are killed."""

import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.breaking import (
    SHORT,
    Unbroken,
    assert_as_unbroken,
    num_evaluations,
    wait_until,
    workers,
)
from tests.tuning.searching import Run, Started, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def kill_worker(started: Started) -> None:
    (worker,) = workers(started)
    worker.send_signal(signal.SIGKILL)


def test_a_trial_whose_process_dies_is_resumed_from_its_checkpoint_and_ends_the_same(
    runs: Path, unbroken: Unbroken
) -> None:
    run = Run(directory=runs / "killed")
    started = start(runs, "killed", *SHORT)
    wait_until(lambda: num_evaluations(run, "t0000") == 3, started)
    kill_worker(started)
    wait_until(lambda: num_evaluations(run, "t0000") == 6, started)
    kill_worker(started)
    code, out, err = started.ended()
    assert code == 0, out + err
    assert "(raylet)" not in out + err  # the line below replaces Ray's own messages
    losses = re.findall(
        r"(t\d+) lost its process or node \(.*\); it is resumed from .* failure (\d)", out
    )
    assert [trial for trial, _ in losses] == ["t0000", "t0000"]
    assert_as_unbroken(run, unbroken)


@pytest.mark.long
def test_a_trial_lost_too_often_has_failed_and_the_search_continues(runs: Path) -> None:
    run = Run(directory=runs / "failed")
    started = start(runs, "failed", *SHORT, "--trials", "3", "--cluster.max_failures", "0")
    started.wait_until_started(run, "t0001")
    wait_until(lambda: num_evaluations(run, "t0001") == 2, started)
    kill_worker(started)
    code, out, err = started.ended()
    assert code == 0, out + err
    assert run.trials.loc["t0001", "status"] == "failed"
    assert "was lost 1 times" in run.trials.loc["t0001", "error"]
    assert len(run.rows("default", "search")) == 3
    assert run.record["trials"]["failed"] == 1
    assert pd.isna(run.trials.loc["t0001", "f1_macro"])
