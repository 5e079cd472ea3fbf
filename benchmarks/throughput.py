"""`python -m benchmarks.throughput`: the same trials by the study's Trainer, a tuned one and ours.

In a repeat, every trial has the same rows, model, configuration, seed and evaluations on each side
and runs to the full budget: no early stopping, no confirmation. Sides take turns, each in a process
of its own with a Ray of its own; `benchmarks.sides` defines them. Then the command compares whole
searches with ASHA, and one step of ours with a bare PyTorch loop's.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from benchmarks.contest import BATCH_SIZES, CPU_THREADS, Contest, make_contest
from benchmarks.figures import describe_machine
from benchmarks.monitor import ProcessMonitor
from results.environment import describe_environment
from results.files import write_json
from training.config import SAMPLE
from training.data import file_of

SIDES = "ABC"


class ThroughputError(RuntimeError):
    """A side failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--data", default=SAMPLE, metavar="FILE", help="rows with columns as ours")
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help="epochs of a trial")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="at least 2")
    parser.add_argument(
        "--architecture",
        metavar="DIR",
        help="another model whose step is compared, with random weights: config.json and tokenizer",
    )
    parser.add_argument(
        "--output",
        default="benchmarks/results.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    options = parser.parse(arguments)
    table = pd.read_csv(file_of(options.data))
    figures: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.throughput", *arguments]),
        "machine": describe_machine(),
        "versions": describe_environment()["packages"],
        "rows": len(table),
    }
    write_json(Path(options.output), figures)  # fails at once if the file cannot be written
    with tempfile.TemporaryDirectory() as directory:
        for part in (_plain, _with_asha, _steps):
            figures |= part(table, Path(directory), options)
            write_json(Path(options.output), figures)  # an error in the next part loses no figures
    print(as_table(figures))
    return ExitCode.DONE


def _plain(table: pd.DataFrame, scratch: Path, options: Any) -> dict[str, Any]:
    turns = list(_turns(table, scratch / "plain", options, sides=SIDES, with_asha=False))
    return {
        "sides": {side: _summary([t for t in turns if t["side"] == side]) for side in SIDES},
        "scores": _compare_scores(turns),
        "ratios": _ratios(turns),
        "runs": turns,
    }


def _with_asha(table: pd.DataFrame, scratch: Path, options: Any) -> dict[str, Any]:
    """Compare the time of whole commands; not all sides report the trials that ASHA stopped."""
    turns = list(_turns(table, scratch / "asha", options, sides="BC", with_asha=True))
    seconds = {
        side: [{"seconds": t["seconds"]} for t in turns if t["side"] == side] for side in "BC"
    }
    return {
        "asha": {side: _summary(found) for side, found in seconds.items()},
        "asha_ratio_to_b": _ratios(turns)["ratio_to_b"],
        "asha_seconds": seconds,
    }


def _turns(
    table: pd.DataFrame, scratch: Path, options: Any, *, sides: str, with_asha: bool
) -> Iterator[dict[str, Any]]:
    """Run each side in each repeat; a different side starts each time."""
    for repeat in range(options.repeats):
        contest = make_contest(
            table,
            scratch / str(repeat),
            epochs=options.epochs,
            seed=42 + repeat,
            with_asha=with_asha,
        )
        contest.save(contest.directory / "contest.json")
        first = repeat % len(sides)
        for side in sides[first:] + sides[:first]:
            turn = run_side(side, contest)
            print(f"{'ASHA ' * with_asha}{side} {repeat + 1}: {turn['seconds']:.1f} s", flush=True)
            yield {**turn, "repeat": repeat}


def run_side(side: str, contest: Contest) -> dict[str, Any]:
    """Run and measure one side's search.

    Args:
        side: `A`, `B` or `C`.
        contest: saved as `contest.json` in its directory.

    Returns:
        `seconds` of the whole process, `setup_s` until the first training starts, `trials_s` from
        there to the end of the last, `overhead_s` between two trainings in one process,
        `rows_per_second` and `pieces_per_second` (tokens) while trials run,
        `padded_pieces_per_second`, `driver_mib`, `worker_mib`, `driver_cores` while trials run,
        and the `trials`; with ASHA only `seconds` and `trials`.

    Raises:
        ThroughputError: the search failed.
    """
    result = contest.directory / f"{side}.json"
    command = [sys.executable, "-m", "benchmarks.sides", side]
    # A short path: the paths of sockets in it may have 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="r") as ray_files,
        tempfile.TemporaryFile("w+") as output,
    ):
        started = time.time()
        process = subprocess.Popen(
            [*command, str(contest.directory / "contest.json"), str(result)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"RAY_TMPDIR": ray_files},
        )
        with ProcessMonitor(process=process.pid) as monitor:
            code = process.wait()
        ended = time.time()
        if code:
            output.seek(0)
            raise ThroughputError(f"side {side} ended with {code}: {output.read()[-500:]}")
    trials: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
    whole = {"side": side, "seconds": ended - started, "trials": trials}
    if contest.with_asha:
        return whole
    first, last = min(t["began"] for t in trials), max(t["ended"] for t in trials)
    rows = sum(trial["rows"] for trial in trials)
    tokens, padded = float(contest.lengths().mean()), mean(trial["padding"] for trial in trials)
    return whole | {
        "setup_s": first - started,
        "trials_s": last - first,
        "overhead_s": _overhead(trials),
        "rows_per_second": rows / (last - first),
        "pieces_per_second": rows * tokens / (last - first),
        "padded_pieces_per_second": rows * tokens * padded / (last - first),
        "driver_mib": monitor.driver_mib,
        "worker_mib": monitor.worker_mib,
        "driver_cores": monitor.cores(first, last),
    }


def _overhead(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the mean seconds between two trainings of the same process."""
    gaps = []
    for process in {trial["process"] for trial in trials}:
        ours = sorted((t["began"], t["ended"]) for t in trials if t["process"] == process)
        gaps += [later[0] - earlier[1] for earlier, later in pairwise(ours)]
    return mean(gaps) if gaps else None


def _summary(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over the repeats of each figure that all of them have."""
    names = [name for name, value in turns[0].items() if isinstance(value, float)]
    return {
        name: _spread([turn[name] for turn in turns])
        for name in names
        if all(isinstance(turn[name], float) for turn in turns)
    }


def _ratios(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many times as long the other sides took as ours, repeat by repeat."""
    by_side: dict[str, list[Mapping[str, Any]]] = {}
    for turn in turns:
        by_side.setdefault(turn["side"], []).append(turn)
    ours = sorted(by_side.pop("C"), key=lambda turn: turn["repeat"])
    found = {}
    for side, theirs in sorted(by_side.items()):
        theirs.sort(key=lambda turn: turn["repeat"])
        for name, what in (("ratio", "seconds"), ("trials_ratio", "trials_s")):
            if what not in ours[0]:
                continue
            quotients = [t[what] / o[what] for t, o in zip(theirs, ours, strict=True)]
            found[f"{name}_to_{side.lower()}"] = _spread(quotients)
    return found


def _compare_scores(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each side's mean final score, and the differences over all trials of all repeats."""
    scores: dict[str, dict[tuple[Any, ...], float]] = {side: {} for side in SIDES}
    for turn in turns:
        for trial in turn["trials"]:
            key = (turn["repeat"], trial["learning_rate"], trial["batch_size"])
            scores[turn["side"]][key] = trial["score"]
    found: dict[str, Any] = {side: mean(of_side.values()) for side, of_side in scores.items()}
    for side in "AB":
        differences = [scores["C"][key] - scores[side][key] for key in scores[side]]
        error = stdev(differences) / len(differences) ** 0.5
        found[f"c_less_{side.lower()}"] = {
            "mean": mean(differences),
            "standard_error": error,
            "within_two": abs(mean(differences)) <= 2 * error,
        }
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else 0.0}


def _steps(table: pd.DataFrame, scratch: Path, options: Any) -> dict[str, Any]:
    """Compare steps with the bare loop: `tiny` with a trial's threads, the other with all cores."""
    rows = scratch / "rows.csv"
    table.to_csv(rows, index=False)
    cores = os.cpu_count() or 1
    kinds = [("tiny", CPU_THREADS, size, 100) for size in BATCH_SIZES]
    if options.architecture:
        kinds.append((options.architecture, cores, 16, 8))
    found = []
    for model, threads, size, steps in kinds:
        command = [sys.executable, "-m", "benchmarks.steps", "--data", str(rows), "--model", model]
        command += ["--threads", str(threads), "--batch-size", str(size), "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ThroughputError(f"steps of {model}: {done.stderr[-500:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {"steps": found}


_COLUMNS = (
    ("seconds", "seconds", 1.0, 1),
    ("setup_s", "of these set-up", 1.0, 1),
    ("overhead_s", "s between trials", 1.0, 2),
    ("rows_per_second", "rows/s", 1.0, 0),
    ("pieces_per_second", "1,000 tokens/s", 1e-3, 1),
    ("padded_pieces_per_second", "with padding", 1e-3, 1),
    ("driver_cores", "driver's cores", 1.0, 3),
    ("driver_mib", "driver MiB", 1.0, 0),
    ("worker_mib", "worker MiB", 1.0, 0),
)
NAMES = {
    "A": "A: Trainer as the study used it",
    "B": "B: Trainer, tuned",
    "C": "C: this program",
}


def as_table(figures: Mapping[str, Any]) -> str:
    """Format tables of the sides, of searches with ASHA and of steps; mean ± standard deviation."""
    lines = [_row("", *(title for _, title, *_ in _COLUMNS)), "|---|" + "---:|" * len(_COLUMNS)]
    lines += [_side_row(NAMES[side], found) for side, found in figures["sides"].items()]
    lines += [_side_row(f"ASHA, {NAMES[side]}", found) for side, found in figures["asha"].items()]
    lines += ["", *_ratio_lines(figures["ratios"], "")]
    if asha := figures["asha_ratio_to_b"]:
        lines += _ratio_lines({"ratio_to_b": asha}, "ASHA, ")
    for side in "ab":
        found = figures["scores"][f"c_less_{side}"]
        lines.append(
            f"final score: ours less {side.upper()} {found['mean']:+.4f}, standard error"
            f" {found['standard_error']:.4f}"
        )
    lines += ["", _row("a step", "rows", "ours ms", "bare loop ms", "ours / bare")]
    lines += ["|---|---:|---:|---:|---:|"]
    lines += [
        _row(
            step["model"],
            str(step["rows"]),
            f"{step['ours']['ms']:.2f} ± {step['ours']['spread']:.2f}",
            f"{step['bare']['ms']:.2f} ± {step['bare']['spread']:.2f}",
            f"{step['ratio']:.3f} ± {step['ratio_spread']:.3f}",
        )
        for step in figures["steps"]
    ]
    return "\n".join(lines)


def _side_row(name: str, found: Mapping[str, Any]) -> str:
    cells = []
    for key, _, factor, digits in _COLUMNS:
        value = found.get(key)
        cells.append(
            ""
            if value is None
            else f"{factor * value['mean']:,.{digits}f} ± {factor * value['sd']:,.{digits}f}"
        )
    return _row(name, *cells)


def _ratio_lines(ratios: Mapping[str, Any], what: str) -> list[str]:
    return [
        f"{what}{name[-1].upper()} takes {value['mean']:.2f} ± {value['sd']:.2f} times as long as C"
        + (", trials alone" if name.startswith("trials") else ", whole command")
        for name, value in ratios.items()
    ]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ThroughputError,)))
