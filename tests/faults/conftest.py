"""A search without interruption, run once; tests compare interrupted ones with it."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.breaking import SHORT, Unbroken
from tests.tuning.searching import IN_TURN, search


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of all runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def unbroken(runs: Path) -> Unbroken:
    """Run a short search."""
    return _search(runs, "unbroken", SHORT)


@pytest.fixture(scope="session")
def unbroken_confirmed(runs: Path) -> Unbroken:
    """Run a search with decisions of a scheduler and a confirmation."""
    return _search(runs, "unbroken-confirmed", IN_TURN)


def _search(runs: Path, name: str, arguments: Sequence[str]) -> Unbroken:
    started_at = time.monotonic()
    ended, run = search(runs, name, *arguments)
    assert ended.returncode == 0, ended.stderr
    return Unbroken(run=run, seconds=time.monotonic() - started_at)
