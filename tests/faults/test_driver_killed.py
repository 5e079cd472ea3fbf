"""The driver is killed at random moments, and in the middle of a write."""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.breaking import (
    Unbroken,
    assert_as_unbroken,
    kill_driver,
    no_process_is_left,
    resume_run,
    rows,
    wait_until,
)
from tests.tuning.searching import IN_TURN, Run, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NUM_KILLS = int(os.environ.get("FAULT_KILLS", "1"))
SEED = int(os.environ.get("FAULT_SEED", "42"))


def moments() -> list[float]:
    """Return random shares of the duration of an uninterrupted search."""
    generator = random.Random(SEED)
    return [generator.random() for _ in range(NUM_KILLS)]


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A search that was killed and then resumed to its end."""

    run: Run
    known: list[str]
    """Evaluations that were on disk at the kill."""


@pytest.fixture(scope="module")
def killed(runs: Path, unbroken_confirmed: Unbroken) -> Iterator[dict[float, Future[Killed]]]:
    """Kill a search at each moment and resume it; two at a time, each of which uses one core."""

    def break_and_resume(share: float) -> Killed:
        name = f"killed-{share:.6f}"
        started = start(runs, name, *IN_TURN)
        time.sleep(share * unbroken_confirmed.seconds)
        kill_driver(started)
        run = Run(directory=runs / name)
        known = rows(run)
        assert no_process_is_left(started)
        resume_run(run, options=IN_TURN)
        return Killed(run=run, known=known)

    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {share: pool.submit(break_and_resume, share) for share in moments()}


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("share", moments(), ids=lambda share: f"at {share:.1%}")
def test_a_search_killed_at_a_random_moment_is_resumed_as_if_nothing_had_happened(
    killed: dict[float, Future[Killed]], unbroken_confirmed: Unbroken, share: float
) -> None:
    found = killed[share].result()
    assert_as_unbroken(found.run, unbroken_confirmed, found.known)


@pytest.mark.long
@pytest.mark.parametrize(
    "file",
    [
        ".search.json.*",
        ".trials.csv.*",
        ".checkpoints/*/*.w*",
    ],
)
def test_a_search_killed_in_the_middle_of_a_write_leaves_whole_files(
    runs: Path, unbroken_confirmed: Unbroken, file: str
) -> None:
    run = Run(directory=runs / f"writing-{len(file)}")
    started = start(runs, run.directory.name, *IN_TURN)
    wait_until(lambda: len(rows(run)) > 3, started)
    wait_until(lambda: any(run.directory.glob(file)), started)
    kill_driver(started)
    known = rows(run)
    assert run.record["status"] == "running"
    assert len(run.trials) > 0
    assert no_process_is_left(started)
    resume_run(run)
    assert_as_unbroken(run, unbroken_confirmed, known)


@pytest.mark.long
def test_no_process_of_a_killed_search_is_left_after_a_while(runs: Path) -> None:
    started = start(runs, "no-process", *IN_TURN)
    wait_until(lambda: len(rows(Run(directory=runs / "no-process"))) > 3, started)
    kill_driver(started)
    deadline = time.monotonic() + 90
    while started.processes():
        assert time.monotonic() < deadline, started.processes()
        time.sleep(0.5)
