"""A search with a time budget."""

from pathlib import Path

import pytest

from tests.tuning.searching import IN_TURN, search

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]

BUDGET_S = 75.0


def test_a_search_and_its_confirmation_end_within_the_time_budget(runs: Path) -> None:
    budget = ["--trials", "500", "--search.time_budget_s", str(BUDGET_S)]
    ended, run = search(runs, "budget", *IN_TURN, *budget)
    assert ended.returncode == 0, ended.stderr
    record, trials = run.record, run.trials
    assert record["status"] == "completed"
    assert record["seconds"] < BUDGET_S + 10  # Ray's end and the report
    assert len(run.rows("default", "search")) < 500
    assert "running" not in set(trials["status"])
    assert len(run.rows("confirm")) >= 4
    (candidate, *_) = record["confirmation"]["candidates"]
    assert len([score for score in candidate["f1_macro"] if score is not None]) == 2
    assert not (run.directory / ".checkpoints").exists()
