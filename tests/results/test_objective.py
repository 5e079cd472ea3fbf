"""Status, report, comparison and plots use the objective of the search, whatever it is."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from results import status_text
from results.compare import best_so_far, list_facts, main, make_comparison, warn_of_differences
from results.live_view import LiveView
from results.load import load_run
from results.older_runs import OBJECTIVE
from results.overview import Overview, read_overview
from results.png_plots import make_class_f1, plot_class_f1
from results.report.page import build_report
from results.run import Run
from results.tensorboard import describe_experiment
from results.trial_states import SearchStatus, Status
from results.verdict import describe_result
from tests.results.objectives import ACCURACY, OF_A_CLASS, evaluation_report, run_decided_by
from tests.results.report.runs import EVIL, write_reports
from tests.results.report.test_page import Page

OLD = Path(__file__).parents[1] / "run-0.1.0"
KINDS = ("search", "confirmed", "test")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_decided_by(ACCURACY, tmp_path / "by-accuracy")


@pytest.fixture
def tested(run: Run) -> Run:
    write_reports(run, evaluation_report(ACCURACY))
    return run


def page(run: Run) -> Page:
    text = build_report(run, run.read_whole_record(), with_texts=True)
    return Page(text.partition("</main>")[0] + "</main></body></html>")


def blocks_with(found: Page, text: str) -> Iterator[str]:
    return (block for block in found.blocks if text in block)


def overview_of(run: Run, **options: Any) -> Overview:
    return read_overview(run, **{"is_alive": False, **options})


def test_the_overview_and_the_live_view_report_the_score_and_its_name(run: Run) -> None:
    overview = overview_of(run)
    lines = list(status_text.describe(overview, NOW))
    best = next(line for line in lines if line.startswith("best"))
    assert best.endswith(": accuracy 0.8100 on replicates")
    assert "default   accuracy 0.7100; the best leads by +10.00 points" in lines
    console = Console(width=120, record=True, markup=False)
    console.print(LiveView(overview))
    assert "t0001 accuracy 0.8100 on replicates" in console.export_text()
    assert not any("macro" in line for line in lines)


def test_the_score_of_a_running_trial_is_reported(tmp_path: Path) -> None:
    run = run_decided_by(ACCURACY, tmp_path / "run", status=SearchStatus.RUNNING)
    row = {**run.read_trials()[2], "status": Status.RUNNING, "epochs": "1.5"}
    run.append_trial(["learning_rate", "batch_size"], row)
    lines = status_text.describe(overview_of(run, is_alive=True), NOW)
    assert "running   t0002 1.50 of 3 epochs, accuracy 0.7500" in list(lines)


def test_control_characters_in_a_label_do_not_reach_the_terminal(tmp_path: Path) -> None:
    odd = {**OF_A_CLASS, "label": "F1 of \x1b[31mred"}
    run = run_decided_by(odd, tmp_path / "run")
    lines = list(status_text.describe(overview_of(run), NOW))
    assert not any("\x1b" in line for line in lines)


def test_the_verdict_reports_the_score(run: Run) -> None:
    lines = list(describe_result(run.read_whole_record()))
    assert "validation accuracy 0.8000 in the search; default 0.7000" in lines[1]
    assert "default 0.7100, best challenger 0.8100, difference +10.00 points" in lines[2]
    assert not any("macro" in line for line in lines)


def test_the_leaderboard_ranks_by_the_score_and_lists_macro_f1_beside_it(run: Run) -> None:
    text = page(run).text
    leaderboard = text.partition("the button of a column sorts by it")[2].partition("Learning")[0]
    assert re.findall(r"^t000\d", leaderboard, flags=re.MULTILINE) == ["t0001", "t0002", "t0000"]
    header = re.sub(r"\s+", " ", leaderboard.partition("t0001")[0]).strip()
    assert header == "trial accuracy learning_rate batch_size macro-F1"
    best = re.sub(r"\s+", " ", leaderboard.partition("t0001")[2].partition("t0002")[0])
    assert best.startswith(" (winner) 0.800")
    assert best.endswith("0.400 ")


def test_the_report_names_and_plots_the_score(tested: Run) -> None:
    found = page(tested)
    for text in (
        *("This model: \naccuracy\n0.790", "0.770 to 0.810", "TF-IDF: \naccuracy\n0.660"),
        *("accuracy on each replicate", "0.810, 0.810", "search score, 0.800 (one"),
        *("Accuracy on the validation rows against", "Accuracy against learning_rate"),
        "Another seed and training split change accuracy as well",
        "The test interval is about +/- 2.00 points",
    ):
        assert text in found.text, text
    assert list(blocks_with(found, '"text":"accuracy (validation)"'))
    assert list(blocks_with(found, '"ticktext":["learning_rate","batch_size","accuracy"]'))
    assert not list(blocks_with(found, "macro-F1"))


def test_the_objective_is_at_the_top_and_other_metrics_are_below(tested: Run) -> None:
    below = page(tested).text.partition("Other metrics")[2].partition("low confidence")[0]
    rows = re.findall(r"^(accuracy|macro-F1)\s+(0\.\d+)", below, flags=re.MULTILINE)
    assert rows == [("macro-F1", "0.430")]


def test_curves_and_parameters_plot_the_score(run: Run) -> None:
    found = page(run)
    (against,) = [b for b in blocks_with(found, '"symbol":"diamond"') if "learning_rate" in b]
    assert '"y":[0.8]' in against
    assert '"y":[0.4]' not in against


def test_the_name_of_a_class_in_a_label_is_text_in_the_report(tmp_path: Path) -> None:
    run = run_decided_by(OF_A_CLASS, tmp_path / "run")
    write_reports(run, evaluation_report(OF_A_CLASS))
    found = page(run)
    assert "img" not in found.tags
    assert f"This model: \nF1 of {EVIL}" in found.text
    assert list(blocks_with(found, "F1 of \\u0026lt;img"))
    assert not list(blocks_with(found, "F1 of \\u003cimg"))


def test_runs_are_compared_by_their_scores(tested: Run) -> None:
    found = list_facts(load_run(tested.directory))
    assert found["accuracy, search"] == "0.8000"
    assert found["accuracy, confirmed"] == "0.8100"
    assert found["accuracy, test"] == "0.7900 [0.7700, 0.8100]"
    assert found["accuracy, default"] == "0.7100"
    assert found["baseline, test"] == "0.6600"
    assert not any("macro" in name for name in found)
    assert best_so_far(load_run(tested.directory))[1][-1] == 0.8


def test_scores_of_different_objectives_are_called_not_comparable(
    tested: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run_decided_by({**OF_A_CLASS, "label": "F1 of b"}, tmp_path / "by-f1")
    same = run_decided_by(ACCURACY, tmp_path / "same")
    runs = [load_run(one.directory) for one in (tested, other, same)]
    lines = [line for line in warn_of_differences(runs) if "objectives" in line]
    assert lines == [
        "by-f1 and by-accuracy have different objectives: their scores are not comparable."
    ]
    picture = tmp_path / "both.png"
    assert main([*(str(one.directory) for one in runs), "--output", str(picture)]) == 0
    out = capsys.readouterr().out
    rows = [line.split("  ")[0] for line in out.splitlines()]
    scores = [f"{label}, {kind}" for label in ("accuracy", "F1 of b") for kind in KINDS]
    assert rows[rows.index(scores[0]) :][: len(scores)] == scores
    assert picture.exists()


def test_the_plot_of_several_runs_names_their_objective_or_that_of_each_run(
    tested: Run, tmp_path: Path
) -> None:
    first = load_run(tested.directory)
    second = load_run(run_decided_by(OF_A_CLASS, tmp_path / "by-f1").directory)
    left, right = make_comparison([first]).axes
    assert left.get_ylabel() == "Accuracy at the full budget (validation)"
    assert right.get_ylabel() == "Accuracy"
    left, right = make_comparison([first, second]).axes
    assert right.get_ylabel() == "Score (each run's own)"
    assert left.get_legend_handles_labels()[1][0] == "by-accuracy (accuracy)"


def test_the_hyperparameters_of_tensorboard_name_the_score() -> None:
    (value,) = describe_experiment({"learning_rate": (0.1, 0.2)}, {}, score_label="accuracy").value
    content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
    score, _ = content.experiment.metric_infos
    assert (score.name.tag, score.display_name) == ("score", "validation accuracy")


def test_the_plot_of_the_classes_ends_with_the_score_even_below_0(tmp_path: Path) -> None:
    correlation = {"name": "mcc", "label": "Matthews correlation", "higher_is_better": True}
    report = evaluation_report(correlation) | {"score": -0.2}
    report["baseline"] |= {"per_class": report["per_class"]}
    names = list(report["per_class"])
    (axes,) = make_class_f1(names, report).axes
    assert axes.get_yticklabels()[-1].get_text() == "Matthews correlation"
    assert axes.get_xlim()[0] <= -0.2
    assert axes.get_xlabel().startswith("F1, and last Matthews correlation, of the test rows")
    plot_class_f1(tmp_path / "classes.png", names, report)


def test_a_run_of_version_0_1_0_reads_as_before() -> None:
    run, loaded = Run(OLD), load_run(OLD)
    assert loaded.record["objective"] == OBJECTIVE
    assert list(loaded.trials["score"]) == list(loaded.trials["f1_macro"])
    assert (
        list_facts(loaded)["macro-F1, search"] == f"{loaded.record['best']['search_f1_macro']:.4f}"
    )
    lines = list(status_text.describe(overview_of(run), NOW))
    assert any(re.match(r"best .*: macro-F1 \d\.\d{4}", line) for line in lines)
    assert "validation macro-F1" in list(describe_result(loaded.record))[1]
    found = page(run)
    assert "Macro-F1 on the validation rows against epochs" in found.text
    assert "macro-F1 on each replicate" in found.text


def test_a_test_of_an_older_version_has_macro_f1_as_its_objective(tmp_path: Path) -> None:
    run = run_decided_by(OBJECTIVE, tmp_path / "run")
    report = evaluation_report(ACCURACY)
    del report["objective"], report["score"], report["confidence_intervals"]["score"]
    del report["baseline"]["score"]
    report["search"] = {"search_f1_macro": 0.5, "confirmed_f1_macro": 0.45}
    report["baseline"]["difference"] = {"f1_macro": 0.01}
    write_reports(run, report)
    loaded = load_run(run.directory)
    assert loaded.test is not None
    assert loaded.test["baseline"]["difference"]["score"] == 0.01
    assert list_facts(loaded)["macro-F1, test"] == "0.4300 [0.4100, 0.4500]"
    assert "This model: \nmacro-F1\n0.430" in page(run).text
