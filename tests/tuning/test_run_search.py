"""What keeps a run from going on; each ends before Ray starts."""

import json
from pathlib import Path
from typing import Any

import pytest

from results.errors import RunError
from results.run import Run
from tests.tuning.builders import configuration
from training.data import RULES
from tuning.run_search import run_search
from tuning.start import new_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return new_run(_configuration(tmp_path))


def _configuration(tmp_path: Path) -> Any:
    return configuration(output={"directory": str(tmp_path), "name": "before"})


def test_a_search_does_not_go_on_with_other_data(run: Run, tmp_path: Path) -> None:
    record = {"status": "interrupted", "seconds": 1.0, "data": {"sha256": "0" * 64, "rules": RULES}}
    record |= {"trials": {"requested": 1}, "best": None, "default": None}
    run.write_record(record)
    with pytest.raises(RunError, match=r"has SHA-256 .* but the run began with 000000000000"):
        run_search(_configuration(tmp_path), resume=run)
    assert json.loads(run.record.read_text())["data"] == record["data"]


def test_a_search_does_not_go_on_after_its_test_was_opened(run: Run, tmp_path: Path) -> None:
    run.test_openings.write_text("[]")
    with pytest.raises(RunError, match=r"test rows of .* were opened"):
        run_search(_configuration(tmp_path), resume=run)
