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
from results.compare import best_so_far, main, warn_of_differences
from results.errors import RunError
from results.load import load_run
from results.run import Run
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
