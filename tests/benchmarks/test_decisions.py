import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contenders import CONTENDERS, Result, available
from benchmarks.decision_figures import SIMULATED, Measured, as_table, figures_of, lead
from benchmarks.decisions import HarmTask, Task, main, many_gains, run_task
from benchmarks.problems import CELLS, simulated_problem
from training.errors import InputError


def result(gain: float, cost: float = 3.0) -> Result:
    return Result(gain=gain, regret=1.0 - gain, cost=cost, makespans={1: cost, 4: cost / 2})


def measured(**groups: list[Result]) -> Measured:
    return Measured(contender=CONTENDERS[0], size=6, source=SIMULATED, groups=groups)


@pytest.mark.slow
def test_the_whole_table_is_made_with_three_repeats(tmp_path: Path) -> None:
    output, plot = tmp_path / "new" / "decisions.json", tmp_path / "plots" / "decisions.png"
    arguments = ["--repeats", "3", "--grid-repeats", "3", "--harm-searches", "20"]
    assert main([*arguments, "--output", str(output), "--plot", str(plot)]) == 0
    figures = json.loads(output.read_text())
    by_name = {(one["policy"], one["trials"]): one for one in figures["policies"]}
    assert by_name["default", 1]["mean_gain"] == by_name["default", 1]["worst_harm"] == 0
    assert by_name["default", 1]["full_trainings"] == 1.15
    assert by_name["all_full_runs", 24]["full_trainings"] == 25.15
    for size in (6, 12, 24, 72):
        ours = by_name["ours", size]
        assert 1.15 < ours["full_trainings"] < by_name["all_full_runs", size]["full_trainings"] + 16
        assert ours["hours"]["1"] > ours["hours"]["4"] > ours["hours"]["8"] > 0
        assert 0 <= ours["worst_harm"] <= 1
    assert "replay-tweets-tiny" in by_name["ours", 24]["sources"]
    assert "replay-tweets-tiny" not in by_name["ours", 72]["sources"]  # it has 40 configurations
    assert figures["seconds"] > 0
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_harm_of_the_policy_is_that_of_many_more_searches() -> None:
    task = HarmTask(name="ours", decision_rule=2, cell=3, size=6, num_searches=40)
    gains = many_gains(task)
    assert many_gains(task) == gains
    assert len(gains) == 40
    few = measured(a=[result(1.0)])
    figures = figures_of(replace(few, more_gains={"a": [-0.4, 0.0, 0.0, 0.0]}))
    assert (figures["worst_harm"], figures["harm_searches"]) == (0.25, 4)
    assert figures["mean_gain"] == 1.0


def test_what_needs_a_package_that_is_missing_is_left_out_with_a_line() -> None:
    def check() -> None:
        raise InputError("the package is missing")

    can_run, left_out = available([CONTENDERS[0], replace(CONTENDERS[1], check=check)])
    assert can_run == [CONTENDERS[0]]
    assert left_out == ["today is left out: the package is missing"]


def test_a_variant_searches_a_problem_at_a_cost_of_its_own() -> None:
    problem = simulated_problem(CELLS[0], 24, repeat=0)
    variants = [one for one in CONTENDERS if not one.is_for_recorded]
    assert {one.name for one in variants} == {"paused", "settled", "redrawn", "prior"}
    for one in variants:
        found = one.run(problem, (1, 4))
        assert found.makespans[1] == pytest.approx(found.cost)
        assert found.cost / 4 <= found.makespans[4] < found.cost


def test_the_results_of_a_task_repeat_and_do_not_depend_on_who_else_searches() -> None:
    task = Task(
        source=SIMULATED, cell=3, size=6, repeats=range(2), names=("ours", "one_rung"), num_timed=1
    )
    results = run_task(task)
    alone = Task(source=SIMULATED, cell=3, size=6, repeats=range(2), names=("ours",), num_timed=1)
    assert run_task(alone)["ours"] == results["ours"]
    assert [sorted(one.makespans) for one in results["ours"]] == [[1, 4, 8], [1]]


def test_means_are_those_of_the_cells_and_harm_is_that_of_the_worst_one() -> None:
    figures = figures_of(
        measured(a=[result(1.0), result(-0.4)], b=[result(0.5), result(0.5), result(-0.3)])
    )
    assert figures["mean_gain"] == pytest.approx((0.3 + 0.7 / 3) / 2, abs=1e-3)
    assert figures["full_trainings"] == 4.15
    assert (figures["worst_harm"], figures["worst_cell"]) == (0.5, "a")
    assert figures["mean_harm"] == 0.25  # a loss of 0.3 is not more than 0.3
    assert figures["hours"] == {"1": round(4.15 / 9, 2), "4": round(2.65 / 9, 2)}


def test_a_lead_is_taken_problem_by_problem() -> None:
    one = measured(a=[result(1.0), result(3.0)])
    other = measured(a=[result(0.5), result(2.5)])
    assert lead(one, other) == {"lead_over_ours": 0.5, "lead_over_ours_standard_error": 0.0}


def test_the_table_has_a_row_for_each_policy_and_empty_cells_for_what_is_not_measured() -> None:
    found = figures_of(measured(a=[result(1.0), result(0.0)]))
    entry = {"label": "this program", "trials": 6, "sources": {SIMULATED: found}}
    grid = {"label": "other", "trials": 12, "sources": {"tweets": found}}
    lines = as_table([entry, grid]).splitlines()
    assert lines[2] == "| this program | 6 | 4.2 | 0.5, 0.3 | +0.50 | 0.50 | 0.0%, 0.0% |  |"
    assert lines[3] == "| other | 12 |  |  |  |  |  | 4.2, +0.5, 0.5 |"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--repeats", "0", "numbers above 0"),
        ("--repeats", "1,2", "one number above 0"),
        ("--jobs", "x", "numbers above 0"),
        ("--only", "ours,others", "'others'"),
    ],
)
def test_a_wrong_option_is_an_error(tmp_path: Path, option: str, value: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        main(["--output", str(tmp_path / "out.json"), option, value])
    assert not (tmp_path / "out.json").exists()
