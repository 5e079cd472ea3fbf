"""`python -m benchmarks.decisions`: what ways of searching choose, and what they cost.

The product's own policy and simple rivals search the same problems: simulated cells, whose truth is
known, and recorded grids of real trainings. How often the policy does harm is rare, and estimated
by many more searches of each cell (`benchmarks.many_searches`, which decides like the policy).
Prints a table; writes the figures and a plot.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from benchmarks.contenders import CONTENDERS, SIZES, Contender, Result, available
from benchmarks.decision_figures import SIMULATED, WORKERS, Measured, as_table, policies
from benchmarks.decision_plot import save_plot
from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.many_searches import run_searches, sample_batch
from benchmarks.problems import CELLS, Problem, recorded_problem, simulated_problem
from benchmarks.processes import ProcessError, map_in_order
from benchmarks.recorded import DATA, RecordedGrid, read_grid
from evaluation.streams import open_output
from training.errors import InputError

_SHARE_TIMED = 0.1
"""Of the simulated problems that a policy also searches with several workers, for its hours."""
_CHUNK = 25
"""Problems that a process is given at a time."""
_HARM_SEED = 24

Job = TypeVar("Job")
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Problems of one kind and size, and who searches them."""

    source: str
    """`SIMULATED`, or the path of a recorded grid."""
    cell: int
    """Number of the simulated cell; 0 for a grid."""
    size: int
    """Configurations of a problem."""
    repeats: range
    names: tuple[str, ...]
    """Of the contenders."""
    num_timed: int
    """The first so many repeats are also searched with several workers."""

    def problem(self, repeat: int) -> Problem:
        """Return a problem."""
        if self.source == SIMULATED:
            return simulated_problem(CELLS[self.cell], self.size, repeat=repeat)
        return recorded_problem(_grid(Path(self.source)), self.size, repeat=repeat)


@dataclass(frozen=True, kw_only=True)
class HarmTask:
    """Many searches of one simulated cell by one rule of the policy."""

    name: str
    """Of the contender."""
    decision_rule: int
    cell: int
    """Number of the simulated cell."""
    size: int
    """Configurations of a search."""
    num_searches: int


@cache
def _grid(path: Path) -> RecordedGrid:
    return read_grid(path)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    started = time.monotonic()
    # SMAC3 iterates over sets of texts: the processes below must hash alike for it to repeat.
    os.environ["PYTHONHASHSEED"] = "0"
    options = _parser().parse(arguments)
    (repeats,), (grid_repeats,), (num_searches,), (jobs,) = (
        _one_number(text, option)
        for text, option in (
            (options.repeats, "--repeats"),
            (options.grid_repeats, "--grid-repeats"),
            (options.harm_searches, "--harm-searches"),
            (options.jobs, "--jobs"),
        )
    )
    contenders, left_out = available(chosen_contenders(options.only))
    for line in left_out:
        print(line, file=sys.stderr)
    with suppress(OSError):  # the error is reported where the file is opened
        Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    with open_output(options.output) as file:
        tasks = list(all_tasks(contenders, repeats=repeats, grid_repeats=grid_repeats))
        many = list(harm_tasks(contenders, num_searches=num_searches))
        gains = run_all(many_gains, many, jobs=jobs)
        found = gather(
            tasks, run_all(run_task, tasks, jobs=jobs), harm=zip(many, gains, strict=True)
        )
        entries = policies(found)
        figures = {
            "policies": entries,
            "seconds": round(time.monotonic() - started, 1),
            "repeats": {
                "simulated": repeats,
                "recorded": grid_repeats,
                "simulated_for_harm": num_searches,
            },
            "left_out": left_out,
            "machine": {**describe_machine(), "processes": jobs},
        }
        write_figures(file, figures)
    print(as_table(entries))
    save_plot(entries, Path(options.plot))
    print(f"{figures['seconds']} s; figures in {options.output}, plot in {options.plot}")
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.decisions", description=__doc__)
    parser.add_argument(
        "--repeats", default="200", metavar="N", help="problems of each simulated cell and size"
    )
    parser.add_argument(
        "--harm-searches",
        default="10000",
        metavar="N",
        help="searches of each simulated cell and size, for the harm of the policy",
    )
    parser.add_argument(
        "--grid-repeats", default="50", metavar="N", help="problems of each recorded grid and size"
    )
    parser.add_argument(
        "--only", metavar="NAME,...", help=f"of {', '.join(one.name for one in CONTENDERS)}"
    )
    parser.add_argument(
        "--jobs",
        default="2",
        metavar="N",
        help="processes; with 1, SMAC3's choices repeat only under PYTHONHASHSEED",
    )
    parser.add_argument(
        "--output", default="benchmarks/decisions.json", metavar="FILE", help="figures as JSON"
    )
    parser.add_argument(
        "--plot", default="benchmarks/pictures/decisions.png", metavar="FILE", help="a PNG"
    )
    return parser


def _one_number(text: str, option: str) -> list[int]:
    numbers = whole_numbers(text, option=option)
    if len(numbers) != 1:
        raise InputError(f"{option} is {text!r}, but must be one number above 0, such as 100")
    return numbers


def chosen_contenders(text: str | None) -> list[Contender]:
    """Return the contenders that `--only` names; None: all.

    Raises:
        InputError: a name is unknown.
    """
    if text is None:
        return list(CONTENDERS)
    known = {one.name: one for one in CONTENDERS}
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"--only has {unknown[0]!r}, but must be of {', '.join(known)}")
    return [known[name] for name in names]


def all_tasks(
    contenders: Sequence[Contender], *, repeats: int, grid_repeats: int
) -> Iterator[Task]:
    """Yield the tasks of all sources, the longest first."""
    for size in reversed(SIZES):
        ours = [one for one in contenders if size in one.sizes]
        names = tuple(one.name for one in ours if one.is_for_simulated)
        for cell in range(len(CELLS)):
            yield from _tasks(SIMULATED, cell, size, repeats, names, share_timed=_SHARE_TIMED)
        names = tuple(one.name for one in ours if one.is_for_recorded)
        for path in sorted(DATA.glob("*.csv")):
            if size <= len(_grid(path).parameters):
                yield from _tasks(str(path), 0, size, grid_repeats, names, share_timed=1.0)


def _tasks(
    source: str, cell: int, size: int, repeats: int, names: tuple[str, ...], *, share_timed: float
) -> Iterator[Task]:
    for start in range(0, repeats if names else 0, _CHUNK):
        yield Task(
            source=source,
            cell=cell,
            size=size,
            repeats=range(start, min(start + _CHUNK, repeats)),
            names=names,
            num_timed=max(1, round(share_timed * repeats)),
        )


def harm_tasks(contenders: Sequence[Contender], *, num_searches: int) -> Iterator[HarmTask]:
    """Yield the tasks of the contenders that are rules of the policy."""
    for one in contenders:
        if one.decision_rule is not None:
            for size, cell in itertools.product(one.sizes, range(len(CELLS))):
                yield HarmTask(
                    name=one.name,
                    decision_rule=one.decision_rule,
                    cell=cell,
                    size=size,
                    num_searches=num_searches,
                )


def many_gains(task: HarmTask) -> list[float]:
    """Return the gain of each search over the default, points."""
    cell = CELLS[task.cell]
    search = simulated_problem(cell, task.size, repeat=0).configuration.search
    batch = sample_batch(
        cell, num_trials=task.size, num_searches=task.num_searches, seed=_HARM_SEED
    )
    rule = search.model_copy(update={"decision_rule": task.decision_rule})
    return [float(gain) for gain in run_searches(batch, rule).gain]


def run_task(task: Task) -> Mapping[str, list[Result]]:
    """Return the results of each contender, in order of the problems."""
    contenders = [one for one in CONTENDERS if one.name in task.names]
    results: dict[str, list[Result]] = {one.name: [] for one in contenders}
    for repeat in task.repeats:
        problem = task.problem(repeat)
        workers = WORKERS if repeat < task.num_timed else WORKERS[:1]
        for one in contenders:
            results[one.name].append(one.run(problem, workers))
    return results


def run_all(
    function: Callable[[Job], Found], tasks: Sequence[Job], *, jobs: int
) -> Iterator[Found]:
    """Yield what a function finds for each task, in order; print how far it is."""
    started = time.monotonic()
    for number, results in enumerate(map_in_order(function, tasks, workers=jobs), 1):
        if number % max(1, len(tasks) // 10) == 0:
            seconds = time.monotonic() - started
            print(f"{number} of {len(tasks)} tasks, {seconds:.0f} s", file=sys.stderr)
        yield results


def gather(
    tasks: Iterable[Task],
    results: Iterable[Mapping[str, list[Result]]],
    *,
    harm: Iterable[tuple[HarmTask, list[float]]],
) -> Iterator[Measured]:
    """Yield the results of each contender on each source and size, smallest first."""
    more: dict[tuple[str, int], dict[str, list[float]]] = {}
    for job, gains in harm:
        more.setdefault((job.name, job.size), {})[str(CELLS[job.cell])] = gains
    found: dict[tuple[str, int, str], dict[str, list[Result]]] = {}
    for task, by_name in zip(tasks, results, strict=True):
        source = task.source if task.source == SIMULATED else _grid(Path(task.source)).name
        group = str(CELLS[task.cell]) if task.source == SIMULATED else source
        for name, ours in by_name.items():
            groups = found.setdefault((name, task.size, source), {})
            groups.setdefault(group, []).extend(ours)
    for one in CONTENDERS:
        for size in one.sizes:
            for (name, its_size, source), groups in found.items():
                if (name, its_size) == (one.name, size):
                    yield Measured(
                        contender=one,
                        size=size,
                        source=source,
                        groups=groups,
                        more_gains=more.get((name, size), {}),
                    )


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ProcessError,)))
