"""A search that nothing happens to, run once: what all broken ones are held against."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.breaking import SHORT, Unbroken
from tests.tuning.searching import IN_TURN, search


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of all runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def unbroken(place: Path) -> Unbroken:
    """A short one."""
    return _search(place, "unbroken", SHORT)


@pytest.fixture(scope="session")
def unbroken_confirmed(place: Path) -> Unbroken:
    """One with a scheduler's decisions and a confirmation."""
    return _search(place, "unbroken-confirmed", IN_TURN)


def _search(place: Path, name: str, arguments: Sequence[str]) -> Unbroken:
    began = time.monotonic()
    ended, run = search(place, name, *arguments)
    assert ended.returncode == 0, ended.stderr
    return Unbroken(run=run, seconds=time.monotonic() - began)
