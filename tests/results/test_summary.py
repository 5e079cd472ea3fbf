"""What results print of themselves, and the tables that notebooks display."""

from pathlib import Path

import pytest

from results.key_figures import key_figures
from results.load import load_run, load_runs
from results.recommendation import recommend
from results.run import Run
from results.summary import Summary, summarize
from tests.results.notebooks import displayed
from tests.results.report.runs import EVIL, evaluation_report, record, small_run, write_reports
from tuning.api import SearchResult

OLD = [Path(__file__).parents[1] / f"run-{version}" for version in ("0.1.0", "0.2.0")]


def test_a_search_result_displays_winner_scores_and_the_next_step(tmp_path: Path) -> None:
    result = SearchResult(directory=tmp_path / "first", record=record())
    caption, *rows = displayed(result._repr_html_())
    assert caption == ["SearchResult"]
    assert [name for name, _ in rows][-3:] == ["winner", "directory", "next"]
    assert dict(rows)["winner"] == "t0001: learning_rate 0.0003, batch_size 16"
    assert "evaluation.api.evaluate(result)" in dict(rows)["next"]
    assert "to quote" not in repr(result)
    assert repr(result).splitlines()[1:] == [
        f"  {name:<9}  {value}" for name, value in map(tuple, rows)
    ]


def test_a_search_result_has_the_winner_and_its_confirmed_score(tmp_path: Path) -> None:
    result = SearchResult(directory=tmp_path, record=record())
    assert result.winner == {"learning_rate": 3e-4, "batch_size": 16}
    assert result.score is not None
    assert result.score.score == 0.705
    assert SearchResult(directory=tmp_path, record=record(confirmation=None)).score is None


def test_a_loaded_run_displays_the_test_score_to_quote_and_escapes_texts(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record())
    report = evaluation_report()
    write_reports(run, report)
    loaded = load_run(run.directory)
    html = loaded._repr_html_()
    assert "<img" not in html
    verdict = recommend(run, loaded.record, loaded.test)
    assert ["verdict", f"{verdict.sign} {verdict.sentence}"] in displayed(html)
    assert EVIL in repr(loaded)
    figure = str(key_figures(loaded.record, loaded.test)[0])
    assert "0.700 (95 % interval 0.650 to 0.750)" in figure
    assert figure in repr(loaded)
    assert "to quote" not in repr(loaded)  # a result that is not to be trusted
    few = {**report["method"], "few_rows": {}}
    enough = {EVIL: {**report["per_class"][EVIL], "support": 300}}
    trusted = summarize("Run", run, record(), {**report, "method": few, "per_class": enough})
    assert f"{figure}: the score to quote" in trusted.as_text()


@pytest.mark.parametrize("directory", OLD)
def test_runs_of_older_versions_display_too(directory: Path) -> None:
    loaded = load_run(directory)
    assert ["directory", str(directory)] in displayed(loaded._repr_html_())
    assert repr(load_runs(directory)).startswith("LoadedRuns (1)\n  run-0.")


def test_a_search_without_a_winner_displays_its_status(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    run.write_record(record(status="running", best=None, default=None, confirmation=None))
    names = [name for name, *_ in displayed(load_run(run.directory)._repr_html_())[1:]]
    assert "verdict" in names
    assert "winner" not in names


def test_several_runs_display_a_verdict_each(tmp_path: Path) -> None:
    for name in ("a", "b"):
        small_run(tmp_path / name).write_record(record())
    loaded = load_runs(tmp_path / "a", tmp_path / "b")
    caption, *rows = displayed(loaded._repr_html_())
    assert caption == ["LoadedRuns (2)"]
    assert [name for name, _ in rows] == ["a", "b"]
    assert len(repr(loaded).splitlines()) == 3


def test_a_summary_without_rows_is_its_title() -> None:
    empty = Summary(title="LoadedRuns (0)", rows=[])
    assert empty.as_text() == "LoadedRuns (0)"
    assert repr(load_runs()) == empty.as_text()


def test_a_run_is_summarized_with_its_directory(tmp_path: Path) -> None:
    rows = dict(summarize("Run", Run(tmp_path), record(), None, next_step="rest").rows)
    assert (rows["directory"], rows["next"]) == (str(tmp_path), "rest")
