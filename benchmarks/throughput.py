"""`python -m benchmarks.throughput`: the same trials by the study's way, by a good one and by ours.

Every trial of a repeat has the same rows, model, configuration, seed and evaluations on each side
and runs to the full budget: no early stopping, no confirmation. Sides take turns, each in a process
of its own that starts its own Ray. `benchmarks.sides` says what they are. After that: whole
searches with ASHA, and one step of ours beside a bare PyTorch loop.
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
from benchmarks.machine import describe_machine
from benchmarks.throughput_table import as_table
from benchmarks.watching import Watched
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
    parser.add_argument("--epochs", type=int, default=2, metavar="N", help="passes of a trial")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="at least 2")
    parser.add_argument(
        "--architecture",
        metavar="DIR",
        help="model whose step is compared, too, with random weights: config.json and tokenizer",
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
    write_json(Path(options.output), figures)  # a place that cannot be written is told at once
    with tempfile.TemporaryDirectory() as directory:
        for part in (_plain, _with_asha, _steps):
            figures |= part(table, Path(directory), options)
            write_json(Path(options.output), figures)  # so that no hour is lost with the next part
    print(as_table(figures))
    return ExitCode.DONE


def _plain(table: pd.DataFrame, place: Path, options: Any) -> dict[str, Any]:
    turns = list(_turns(table, place / "plain", options, sides=SIDES, with_asha=False))
    return {
        "sides": {side: _summary([t for t in turns if t["side"] == side]) for side in SIDES},
        "scores": _compare_scores(turns),
        "ratios": _ratios(turns),
        "runs": turns,
    }


def _with_asha(table: pd.DataFrame, place: Path, options: Any) -> dict[str, Any]:
    """Of trials that ended early not all sides tell: the whole command's time is what counts."""
    turns = list(_turns(table, place / "asha", options, sides="BC", with_asha=True))
    seconds = {
        side: [{"seconds": t["seconds"]} for t in turns if t["side"] == side] for side in "BC"
    }
    return {
        "asha": {side: _summary(found) for side, found in seconds.items()},
        "asha_ratio_to_b": _ratios(turns)["ratio_to_b"],
        "asha_seconds": seconds,
    }


def _turns(
    table: pd.DataFrame, place: Path, options: Any, *, sides: str, with_asha: bool
) -> Iterator[dict[str, Any]]:
    """What each side did in each repeat; the one that begins changes."""
    for repeat in range(options.repeats):
        contest = make_contest(
            table,
            place / str(repeat),
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
    """One side's search, watched.

    Args:
        side: `A`, `B` or `C`.
        contest: saved as `contest.json` in its directory.

    Returns:
        `seconds` of the whole process, `setup_s` until the first training begins, `trials_s` from
        there to the end of the last, `overhead_s` between two trainings in one process,
        `rows_per_second` and `pieces_per_second` while trials run, `padded_pieces_per_second`,
        `driver_mib`, `worker_mib`, `driver_cores` while trials run, and the `trials`; with ASHA
        `seconds` and `trials` alone.

    Raises:
        ThroughputError: it failed.
    """
    result = contest.directory / f"{side}.json"
    command = [sys.executable, "-m", "benchmarks.sides", side]
    # Short: sockets lie in it, whose paths may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="r") as ray_files, tempfile.TemporaryFile("w+") as said:
        began = time.time()
        process = subprocess.Popen(
            [*command, str(contest.directory / "contest.json"), str(result)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"RAY_TMPDIR": ray_files},
        )
        with Watched(process=process.pid) as watched:
            code = process.wait()
        ended = time.time()
        if code:
            said.seek(0)
            raise ThroughputError(f"side {side} ended with {code}: {said.read()[-500:]}")
    trials: list[dict[str, Any]] = json.loads(result.read_text(encoding="utf-8"))
    whole = {"side": side, "seconds": ended - began, "trials": trials}
    if contest.with_asha:
        return whole
    first, last = min(t["began"] for t in trials), max(t["ended"] for t in trials)
    rows = sum(trial["rows"] for trial in trials)
    pieces, padded = float(contest.lengths().mean()), mean(trial["padding"] for trial in trials)
    return whole | {
        "setup_s": first - began,
        "trials_s": last - first,
        "overhead_s": _overhead(trials),
        "rows_per_second": rows / (last - first),
        "pieces_per_second": rows * pieces / (last - first),
        "padded_pieces_per_second": rows * pieces * padded / (last - first),
        "driver_mib": watched.driver_mib,
        "worker_mib": watched.worker_mib,
        "driver_cores": watched.cores(first, last),
    }


def _overhead(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean seconds between the end of a training and the next one's beginning in its process."""
    gaps = []
    for process in {trial["process"] for trial in trials}:
        ours = sorted((t["began"], t["ended"]) for t in trials if t["process"] == process)
        gaps += [later[0] - earlier[1] for earlier, later in pairwise(ours)]
    return mean(gaps) if gaps else None


def _summary(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the repeats of each figure that all have."""
    names = [name for name, value in turns[0].items() if isinstance(value, float)]
    return {
        name: _spread([turn[name] for turn in turns])
        for name in names
        if all(isinstance(turn[name], float) for turn in turns)
    }


def _ratios(turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many times as long the others took as ours, repeat by repeat."""
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
    """Final score of each side, and ours less theirs over all trials of all repeats."""
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


def _steps(table: pd.DataFrame, place: Path, options: Any) -> dict[str, Any]:
    """Steps beside the bare loop: `tiny` with a trial's threads, the other with all cores."""
    rows = place / "rows.csv"
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


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ThroughputError,)))
