"""Comparison of runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.simulated_run import write_simulated_run
from results.compare import best_so_far, list_facts, main, make_comparison, warn_of_differences
from results.errors import RunError
from results.load import load_run
from results.run import Run
from tests.results.report.last_rung import last_rung_run
from tests.results.report.runs import evaluation_report, write_reports
from training.errors import InputError

ROOT = Path(__file__).parents[2]


def simulated(directory: Path, **changes: Any) -> Run:
    run = Run(directory)
    run.write_record({**write_simulated_run(directory, 12), **changes})
    return run


def warnings_on(*runs: Run) -> str:
    return "\n".join(warn_of_differences([load_run(run.directory) for run in runs]))


def test_the_table_has_a_column_for_each_run_and_the_plot_is_a_png(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = simulated(tmp_path / "first"), simulated(tmp_path / "[bold]second")
    write_reports(first, evaluation_report())
    picture = tmp_path / "both.png"
    paths = [str(first.directory), str(second.directory)]
    assert main([*paths, "--output", str(picture)]) == 0
    out = capsys.readouterr().out
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert out.splitlines()[0].split() == ["first", "[bold]second"]
    best = first.read_record()["best"]
    assert lines["winner"][1:] == [best["trial_id"]] * 2
    assert lines["macro-F1, search"][2:] == [f"{best['search_score']:.4f}"] * 2
    assert lines["macro-F1, test"][2:] == ["0.7000", "[0.6500,", "0.7500]", "not", "evaluated"]
    assert out.splitlines()[-1].startswith("Next: open ")
    with Image.open(picture) as image:
        assert image.width > 2000


def test_a_warning_names_the_one_aspect_in_which_runs_differ(tmp_path: Path) -> None:
    first = simulated(tmp_path / "first")
    record = first.read_record()
    data, search = record["data"], record["search"]
    counts = {"train": {"no": 1, "yes": 2}}
    for name, changes, word in (
        ("a", {"data": {**data, "sha256": "1" * 64}}, "different data"),
        (
            "b",
            {"data": {**data, "class_counts": counts}},
            "different splits",
        ),
        ("c", {"data": {**data, "class_counts": {"train": {"maybe": 1}}}}, "different labels"),
        ("d", {"search": {**search, "budget": 7}}, "different budgets"),
        ("e", {"status": "interrupted"}, "e is interrupted"),
    ):
        assert word in warnings_on(first, simulated(tmp_path / name, **changes))
    assert "different" not in warnings_on(first, simulated(tmp_path / "same"))


def test_a_warning_names_runs_without_a_test_and_with_several_test_accesses(
    tmp_path: Path,
) -> None:
    untested, tested = simulated(tmp_path / "untested"), simulated(tmp_path / "tested")
    test = evaluation_report()
    test["test_openings"] *= 2
    write_reports(tested, test)
    found = warnings_on(untested, tested)
    assert "untested has not been evaluated on the test set: its search and conf" in found
    assert "\ntested was evaluated on the test set 2 times." in found


def test_the_best_so_far_never_falls_and_ends_with_all_rows_of_the_search(tmp_path: Path) -> None:
    run = load_run(simulated(tmp_path / "run").directory)
    rows, best = best_so_far(run)
    assert best == sorted(best)
    assert best[-1] == run.record["best"]["search_score"]
    assert rows[-1] == run.curves.groupby("trial_id")["examples"].max().sum()


def test_search_scores_after_different_epochs_are_labelled_and_called_not_comparable(
    tmp_path: Path,
) -> None:
    short = load_run(last_rung_run(tmp_path / "short").directory)
    facts = list_facts(short)
    assert facts["macro-F1, search"] == "0.6000 after 1.5 of 3 epochs"
    assert (facts["macro-F1, confirmed"], facts["macro-F1, default"]) == ("0.6800", "0.6100")
    assert facts["trials"] == "4 of 4"
    plan = short.record["search"] | {"ends_at_last_rung": False}
    full = last_rung_run(tmp_path / "full", search=plan)
    best = short.record["best"] | {"search_epochs": 3.0}
    full.write_record({**full.read_record(), "best": best})
    (sentence, *_) = warn_of_differences([short, load_run(full.directory)])
    assert sentence == (
        "full and short have search scores after different numbers of epochs: only their confirmed"
        " and test scores are comparable."
    )


def test_the_best_so_far_is_that_at_the_last_rung_where_trials_end_there(tmp_path: Path) -> None:
    run = load_run(last_rung_run(tmp_path / "short").directory)
    rows, best = best_so_far(run)
    assert best == pytest.approx([0.45, 0.6, 0.62, 0.62])
    assert rows == [1500, 3000, 4500, 5000]
    left, right = make_comparison([run]).axes
    assert left.get_ylabel() == "Macro-F1 (validation)"
    assert left.get_legend_handles_labels()[1] == ["short, after 1.5 of 3 epochs"]
    assert "search, a shorter training" in right.get_legend_handles_labels()[1]


def test_a_confirmation_without_a_score_of_the_winner_confirms_nothing(tmp_path: Path) -> None:
    found = last_rung_run(tmp_path / "run").read_record()["confirmation"]
    for candidate in found["candidates"]:
        candidate["score"] = [None, None, None]
    run = load_run(last_rung_run(tmp_path / "cut", confirmation=found).directory)
    assert list_facts(run)["macro-F1, confirmed"] == ""
    assert list_facts(run)["macro-F1, default"] == "0.4500 after 1.5 of 3 epochs"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such directory"),
        (["nowhere", "--outputs", "x"], "unknown option --outputs; did you mean --output?"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], words: str) -> None:
    with pytest.raises((InputError, RunError), match=re.escape(words)):
        main(arguments)


def test_runs_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: the following arguments are required: RUN; see python -m results.compare -h\n"
    )


def test_the_command_exits_with_the_code_of_bad_input_and_no_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "results.compare", os.fspath(tmp_path / "a\x1b[31m")],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": False},
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: run ")
    assert "\x1b" not in line
