"""`python -m benchmarks.warm_start`: what a start from earlier runs saves, and what it costs.

Four starts of the same search of nine trials are compared: none; after a good earlier run, on other
rows of the same kind; after an unrelated one; and after a misleading one. On recorded grids the
product's own policy searches many problems: the unrelated run had the scores of the configurations
permuted, the misleading one had 1 - score instead of each score. With `--tweets` each start is one
real search of 3,000 tweets with `tiny`: the good run searched other 3,000 tweets, the unrelated one
the bundled sample, the misleading one those other tweets with their labels permuted. A real search
that has finished is not run again, and an interrupted one is resumed.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.problems import POINTS, Problem, recorded_problem
from benchmarks.recorded import DATA, RecordedGrid, read_grid
from benchmarks.replay import replay_to_end
from evaluation.streams import open_output
from results.run import Run
from tuning.earlier_runs import ranked_configurations
from tuning.record import choose
from tuning.space import Parameters
from tuning.warm_start import MOST_OF_A_RUN

STARTS = ("none", "good", "unrelated", "misleading")
TRIALS = 9
"""Of each search, trial 0 included."""

_SEED = 27
_EARLIER = 10_000
"""Earlier problems have numbers from here on: other configurations and replicates."""
_ROWS = 3_000
"""Of each table of a real search."""
_OPTIONS = (
    *("--config", "sample", "--trials", str(TRIALS), "--training.epochs", "4"),
    *("--search.max_concurrent", "1"),
)


class WarmStartError(RuntimeError):
    """A real search failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    (repeats,) = whole_numbers(options.repeats, option="--repeats")[:1]
    figures: dict[str, Any] = {"machine": describe_machine(), "recorded": [], "real": []}
    for path in sorted(DATA.glob("*.csv")):
        figures["recorded"] += recorded_figures(read_grid(path), repeats=repeats)
    print(as_table(figures["recorded"]))
    if options.tweets:
        directory = Path(options.directory)
        directory.mkdir(parents=True, exist_ok=True)
        seeds = whole_numbers(options.seeds, option="--seeds")
        for seed, start in itertools.product(seeds, STARTS):
            figures["real"].append(real_figures(start, seed, Path(options.tweets), directory))
            print(figures["real"][-1], flush=True)
    with open_output(options.output) as file:
        write_figures(file, figures)
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.warm_start", description=__doc__)
    parser.add_argument(
        "--repeats", default="200", metavar="N", help="problems of each recorded grid [200]"
    )
    parser.add_argument(
        "--tweets", metavar="FILE", help="CSV with at least 6,000 labelled rows, for real searches"
    )
    parser.add_argument(
        "--seeds", default="42,1,2", metavar="N,...", help="of the real searches [42,1,2]"
    )
    parser.add_argument(
        "--directory",
        default="results/runs/warm-start",
        metavar="DIR",
        help="where the real runs are [results/runs/warm-start]",
    )
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-warm-start.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    return parser


# Recorded grids


def recorded_figures(grid: RecordedGrid, *, repeats: int) -> list[dict[str, Any]]:
    """Return the figures of each start on one grid: means over the problems."""
    found: dict[str, list[dict[str, float]]] = {start: [] for start in STARTS}
    for repeat in range(repeats):
        for start, one in compare_starts(grid, repeat).items():
            found[start].append(one)
    return [
        {
            "grid": grid.name,
            "start": start,
            "searches": repeats,
            **{key: round(fmean(one[key] for one in ours), 3) for key in ours[0]},
            "gain_standard_error": round(_standard_error([one["gain"] for one in ours]), 3),
        }
        for start, ours in found.items()
    ]


def compare_starts(grid: RecordedGrid, repeat: int) -> dict[str, dict[str, float]]:
    """Search one problem after each start.

    Returns:
        {start: {`trials_until_as_good`: the first trial that is as good as the winner of the search
        without an earlier run, or within the standard error of that one's score (10: no trial is);
        `gain`: of the winner over trial 0, points; `cost`: of search and confirmation, full
        trainings; `cost_of_first`: of the configurations of the earlier run; `trial_0_wins`}}
    """
    whole = recorded_problem(grid, len(grid.parameters), repeat=repeat)
    cold = list(range(TRIALS))
    orders = {"none": cold}
    for start in STARTS[1:]:
        first = [_number(whole, point) for point in best_of_earlier(grid, repeat, start)]
        orders[start] = list(dict.fromkeys([0, *first, *cold]))[:TRIALS]
    found: dict[str, dict[str, float]] = {}
    goal = 0.0
    for start, numbers in orders.items():
        problem = _part(grid, whole, numbers, repeat)
        outcome, policy = replay_to_end(problem)
        if start == "none":
            goal = problem.truth(outcome.chosen) - _noise(problem, outcome.chosen)
        as_good = (n for n in range(1, TRIALS) if problem.truth(n) >= goal)
        rows = sum(t.examples for t in policy.store.searched if 1 <= t.number <= MOST_OF_A_RUN)
        found[start] = {
            "trials_until_as_good": next(as_good, TRIALS) + 1 if problem.truth(0) < goal else 1,
            "gain": problem.gain(outcome.chosen),
            "cost": outcome.cost,
            "cost_of_first": rows / problem.plan.budget,
            "trial_0_wins": float(outcome.chosen == 0),
        }
    return found


_CHANGES: Mapping[str, Callable[[np.random.Generator, Any], Any]] = {
    "good": lambda _, scores: scores,
    "unrelated": lambda generator, scores: generator.permutation(scores),
    "misleading": lambda _, scores: 1 - scores,
}
"""What the scores of an earlier run were; they are [configurations, replicates, points]."""


def best_of_earlier(grid: RecordedGrid, repeat: int, start: str) -> list[Parameters]:
    """Return the configurations that an earlier run of the same space hands on, best first."""
    earlier = recorded_problem(grid, TRIALS, repeat=_EARLIER + repeat)
    generator = np.random.default_rng([_SEED, repeat])
    scores = _CHANGES[start](generator, earlier.scores)
    _, policy = replay_to_end(replace(earlier, scores=scores, constant_score=0.0))
    ranked = ranked_configurations(policy.store, policy.ranking, choose(policy))
    default = earlier.parameters[0]
    return [one.parameters for one in ranked if one.parameters != default][:MOST_OF_A_RUN]


def _number(problem: Problem, point: Parameters) -> int:
    return list(problem.parameters).index(point)


def _part(grid: RecordedGrid, whole: Problem, numbers: Sequence[int], repeat: int) -> Problem:
    """Return the problem of some configurations, in this order."""
    return replace(
        recorded_problem(grid, len(numbers), repeat=repeat),
        parameters=[whole.parameters[number] for number in numbers],
        scores=whole.scores[list(numbers)],
        truths=whole.truths[list(numbers)],
        sample=None,
    )


def _noise(problem: Problem, number: int) -> float:
    """Return the standard error of a configuration's mean final score over the replicates."""
    return _standard_error(problem.scores[number, :, -1].tolist())


def _standard_error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures of the recorded grids as a table."""
    head = (
        "| grid | start | trials until as good | gain, points | cost | cost of the first | trial 0"
        " wins |\n|---|---|---:|---:|---:|---:|---:|"
    )
    lines = [
        f"| {row['grid']} | {row['start']} | {row['trials_until_as_good']:.2f}"
        f" | {row['gain']:.2f} ± {row['gain_standard_error']:.2f} | {row['cost']:.2f}"
        f" | {row['cost_of_first']:.2f} | {row['trial_0_wins']:.0%} |"
        for row in rows
    ]
    return "\n".join([head, *lines])


# Real searches


def real_figures(start: str, seed: int, tweets: Path, directory: Path) -> dict[str, Any]:
    """Run the search after a start, unless it has finished, and return its figures."""
    data = directory / "tweets.csv"
    rows = pd.read_csv(tweets, dtype=str, keep_default_na=False)
    rows.iloc[:_ROWS].to_csv(data, index=False)
    others = rows.iloc[_ROWS : 2 * _ROWS].copy()
    earlier: list[str] = []
    if start != "none":
        options = list(_earlier_options(start, others, directory))
        run = directory / f"earlier-{start}"
        _search(run, *options, "--search.seed", "7")
        earlier = ["--search.warm_start", str(run)]
    run = directory / f"start-{start}-{seed}"
    _search(run, "--data", str(data), "--search.seed", str(seed), *earlier)
    return {"seed": seed, **describe_real(start, Run(run))}


def _earlier_options(start: str, others: pd.DataFrame, directory: Path) -> Iterator[str]:
    if start == "unrelated":
        return
    if start == "misleading":
        generator = np.random.default_rng(_SEED)
        others["final_label"] = generator.permutation(others["final_label"].to_numpy())
    path = directory / f"earlier-{start}.csv"
    others.to_csv(path, index=False)
    yield from ("--data", str(path))


def describe_real(start: str, run: Run) -> dict[str, Any]:
    """Return the figures of a real search; scores are those of `search.json`.

    `trials_until_as_good` counts the trials up to the first whose search score is within the
    standard error of the winner's replicates of the winner's.
    """
    record, rows = run.read_whole_record(), run.read_trials()
    best, confirmation = record["best"], record["confirmation"]
    noise = next(
        (one["standard_error"] or 0.0)
        for one in confirmation["candidates"]
        if one["parameters"] == best["parameters"]
    )
    searched = [row for row in rows if row["source"] != "confirm" and row["score"]]
    enough = best["search_score"] - noise
    first = [one["trial_id"] for one in record["warm_start"]]
    return {
        "start": start,
        "winner": best["trial_id"],
        "parameters": best["parameters"],
        "score": round(best["score"] * POINTS, 2),
        "standard_error": round(noise * POINTS, 2),
        "default": round(record["default"]["score"] * POINTS, 2),
        "trials_until_as_good": 1
        + next(n for n, row in enumerate(searched) if float(row["score"]) >= enough),
        "rows_of_first": sum(int(r["examples"]) for r in searched if r["trial_id"] in first),
        "rows_of_search": record["examples_trained"]["search"],
        "rows": sum(record["examples_trained"].values()),
        "budget": record["search"]["budget"],
        "verdict": confirmation["verdict"],
        "seconds": record["seconds"],
    }


def _search(run: Path, *options: str) -> None:
    if Run(run).best.exists():
        return
    resumed = ["--resume"] if Run(run).config.exists() else [*_OPTIONS, *options]
    command = [sys.executable, "-m", "tuning.search", *resumed]
    output = ("--output.directory", str(run.parent), "--name", run.name)
    ended = subprocess.run([*command, *output], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise WarmStartError(f"{' '.join(command)}: {ended.stderr.strip()[-500:]}")


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(WarmStartError,)))
