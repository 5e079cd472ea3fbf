"""`search.json` made again for runs that had not come to their end."""

import csv
import shutil
from pathlib import Path

import pytest

from results.run import Run
from training.options import read_yaml, to_yaml
from tuning.resume import rebuild

RECORDED = Path(__file__).parents[1] / "run-0.2.0"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(RECORDED, tmp_path / "run")))


def keep(run: Run, *trial_ids: str, **changed: dict[str, str]) -> None:
    """Leave these trials alone in `trials.csv`, cells of some of them changed."""
    with run.trials.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["trial_id"] in trial_ids]
    rows = [row | changed.get(row["trial_id"], {}) for row in rows]
    with run.trials.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ids(run: Run) -> list[str]:
    return [row["trial_id"] for row in run.read_trials()]


def test_a_rebuild_writes_no_trainings_that_were_only_planned(run: Run) -> None:
    searched = ("t0000", "t0001", "t0002", "t0003")
    keep(run, *searched)
    assert rebuild(run) == "interrupted"
    assert ids(run) == list(searched)
    assert run.read_record()["status"] == "interrupted"


def test_a_search_whose_time_was_up_while_a_trial_still_ran_was_interrupted(run: Run) -> None:
    settings = read_yaml(run.config)
    settings["search"]["time_budget_s"] = 60
    run.config.write_text(to_yaml(settings))
    stopped = {"status": "stopped", "stopped_by": "end of search"}
    running = {"status": "running", "stopped_by": ""}
    keep(run, "t0000", "t0001", "t0002", "t0003", t0002=stopped, t0003=running)
    before = run.read_trials()
    assert rebuild(run) == "interrupted"
    after = run.read_trials()
    for name in ("trial_id", "status", "stopped_by"):
        assert [row[name] for row in after] == [row[name] for row in before]
    assert run.read_record()["confirmation"] is None
