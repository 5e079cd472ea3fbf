"""A search that nothing happens to, run once: what all broken ones are held against."""

import time
from pathlib import Path

import pytest

from tests.faults.breaking import Unbroken
from tests.tuning.searching import IN_TURN, search


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of all runs."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def unbroken(place: Path) -> Unbroken:
    began = time.monotonic()
    ended, run = search(place, "unbroken", *IN_TURN)
    assert ended.returncode == 0, ended.stderr
    return Unbroken(run=run, seconds=time.monotonic() - began)
