import shutil
from pathlib import Path

import pytest

from benchmarks import warm_start
from benchmarks.recorded import DATA, RecordedGrid, read_grid
from results.run import Run
from tuning.warm_start import MOST_OF_A_RUN

RECORDED = Path(__file__).parents[1] / "run-0.2.0"


@pytest.fixture(scope="module")
def grid() -> RecordedGrid:
    return read_grid(DATA / "replay-sample-tiny.csv")


def test_a_good_run_hands_on_better_configurations_than_a_misleading_one(
    grid: RecordedGrid,
) -> None:
    scores = {str(p): s[:, -1].mean() for p, s in zip(grid.parameters, grid.scores, strict=True)}
    means = {}
    for start in ("good", "misleading"):
        points = warm_start.best_of_earlier(grid, 1, start)
        assert len(points) == MOST_OF_A_RUN
        known = [dict(one) for one in grid.parameters]
        numbers = [known.index(point) for point in points]  # type: ignore[arg-type]
        means[start] = sum(list(scores.values())[number] for number in numbers)
    assert means["good"] > means["misleading"]


def test_each_start_searches_the_same_problem(grid: RecordedGrid) -> None:
    found = warm_start.compare_starts(grid, 1)
    assert list(found) == list(warm_start.STARTS)
    assert found == warm_start.compare_starts(grid, 1)
    for one in found.values():
        assert 1 <= one["trials_until_as_good"] <= warm_start.TRIALS + 1
        assert 0 < one["cost_of_first"] < one["cost"]


def test_figures_are_means_in_a_table(grid: RecordedGrid) -> None:
    rows = warm_start.recorded_figures(grid, repeats=1)
    assert [row["start"] for row in rows] == list(warm_start.STARTS)
    assert warm_start.as_table(rows).count("\n") == 1 + len(rows)


def test_a_real_search_is_described_by_its_record(tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(RECORDED, tmp_path / "run")))
    record = run.read_record()
    run.write_record({**record, "warm_start": [{"trial_id": "t0001"}]})
    found = warm_start.describe_real("good", run)
    assert found["winner"] == record["best"]["trial_id"]
    first = next(row for row in run.read_trials() if row["trial_id"] == "t0001")
    assert found["rows_of_first"] == int(first["examples"])
    assert found["rows"] == sum(record["examples_trained"].values())
