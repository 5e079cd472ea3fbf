"""SIGINT and SIGTERM: in ten seconds all is on disk, and nothing is trained twice."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.breaking import (
    SHORT,
    Unbroken,
    assert_as_unbroken,
    no_process_is_left,
    num_evaluations,
    resume_run,
    rows,
    slowness,
    wait_until,
)
from tests.tuning.searching import Run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def everyone(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [
        pytest.param(signal.SIGINT, "the terminal's group", 130, marks=pytest.mark.long),
        (signal.SIGTERM, "the driver", 143),
    ],
)
def test_a_signal_ends_a_search_within_ten_seconds_and_it_is_resumed_from_there(
    runs: Path, unbroken: Unbroken, number: int, whom: str, code: int
) -> None:
    run = Run(directory=runs / f"{code}-{len(whom)}")
    started = start(runs, run.directory.name, *SHORT)
    started.wait_until_started(run, "t0001")
    wait_until(lambda: num_evaluations(run, "t0001") == 3, started)
    started_at = time.monotonic()
    if whom == "the driver":
        os.kill(started.process.pid, number)
    else:
        os.killpg(started.process.pid, number)
    found, out, err = started.ended()
    seconds = time.monotonic() - started_at
    assert found == code, out + err
    assert "Traceback" not in out + err
    assert seconds < 10 * slowness()
    assert out.splitlines()[-1].startswith(
        "Interrupted; all results so far are on disk. Next: python"
    )
    assert run.record["status"] == "interrupted"
    assert list(run.trials["status"]) == ["completed", "running"]
    assert (run.directory / ".checkpoints" / "t0001" / "resume.pt").exists()
    known = rows(run)
    assert no_process_is_left(started)
    resume_run(run)
    assert_as_unbroken(run, unbroken, known)


@pytest.mark.long
def test_a_signal_to_ray_s_own_processes_too_ends_in_ten_seconds_and_loses_nothing(
    runs: Path, unbroken: Unbroken
) -> None:
    # As batch systems do. If Ray's own server ends first, Ray ends the driver, with code 1.
    run = Run(directory=runs / "everyone")
    started = start(runs, "everyone", *SHORT)
    started.wait_until_started(run, "t0001")
    wait_until(lambda: num_evaluations(run, "t0001") == 3, started)
    started_at = time.monotonic()
    for process in everyone(started.process.pid):
        process.send_signal(signal.SIGTERM)
    code, out, err = started.ended()
    assert time.monotonic() - started_at < 10 * slowness()
    assert code in (143, 1), out + err
    assert "--resume --name everyone" in out
    known = rows(run)
    resume_run(run)
    assert_as_unbroken(run, unbroken, known)


@pytest.mark.long
def test_a_second_ctrl_c_ends_at_once_and_the_search_can_still_be_resumed(
    runs: Path, unbroken: Unbroken
) -> None:
    run = Run(directory=runs / "twice")
    started = start(runs, "twice", *SHORT)
    started.wait_until_started(run, "t0001")
    started_at = time.monotonic()
    os.kill(started.process.pid, signal.SIGINT)
    time.sleep(0.2)  # two at the same moment would be one
    os.kill(started.process.pid, signal.SIGINT)
    code, out, err = started.ended()
    assert time.monotonic() - started_at < 2 * slowness()
    assert code == 130, out + err
    assert run.record["status"] in ("running", "interrupted")
    resume_run(run)
    assert_as_unbroken(run, unbroken)
