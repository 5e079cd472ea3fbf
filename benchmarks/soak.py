"""`python -m benchmarks.soak`: memory, disk and processes of a search of many short trials.

The real command in a process of its own, on the bundled sample: each trial is one pass over its
rows, so that what grows with the number of trials shows.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.looks import MIB, pace, size, watch
from benchmarks.machine import describe_machine
from benchmarks.numbers import whole_numbers
from evaluation.streams import open_output

_SEARCH = (
    *("--search.scheduler", "none", "--search.confirm_replicates", "0"),
    *("--training.epochs", "1", "--search.evaluations_per_epoch", "2"),
    *("--training.batch_size", "64", "--training.warmup_steps", "0.1"),
    *("--search.space", "{learning_rate: {log_uniform: [1e-3, 4e-3]}}"),
)
_PROMISE = re.compile(r"at most ([\d,]+) MiB at the peak")


class SoakError(RuntimeError):
    """The search that is watched failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--at", default="50,150,300", metavar="N,...", help="trials at which to look; the last ends"
    )
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-soak.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    options = parser.parse(arguments)
    marks = sorted(whole_numbers(options.at, option="--at"))
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    with open_output(options.output) as file, tempfile.TemporaryDirectory() as directory:
        figures = soak(marks, Path(directory))
        found = {"machine": describe_machine(), **figures}
        file.write((json.dumps(found, indent=2) + "\n").encode())
    print(as_table(figures))
    return ExitCode.DONE


def soak(marks: Sequence[int], directory: Path) -> dict[str, Any]:
    """Run a search of as many trials as the last mark says.

    Args:
        marks: numbers of ended trials at which to look, ascending.
        directory: for the run.

    Returns:
        `looks` (a `Look` a mark), `promised_mib` (the dry run's), `peak_mib` (most on disk at any
        look), `end_mib`, `seconds_a_trial`, `processes_left`.

    Raises:
        SoakError: the search failed.
    """
    command = [sys.executable, "-m", "tuning.search", *_SEARCH, "--trials", str(marks[-1])]
    command += ["--output.directory", str(directory), "--name", "soak"]
    plan = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    promise = _PROMISE.search(plan.stdout)
    if promise is None:
        raise SoakError(f"the dry run ended with {plan.returncode}: {plan.stderr[-300:]}")
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        tree = psutil.Process(process.pid)
        looks, peak, family = watch(tree, directory / "soak", marks)
        code = process.wait()
        said.seek(0)
        if code != ExitCode.DONE:
            raise SoakError(f"the search ended with {code}: {said.read()[-300:]}")
    _, left = psutil.wait_procs(family, timeout=30)
    return {
        "looks": [asdict(look) for look in looks],
        "promised_mib": int(promise[1].replace(",", "")),
        "peak_mib": round(peak / MIB, 1),
        "end_mib": round(size(directory / "soak") / MIB, 1),
        "seconds_a_trial": pace(looks),
        "processes_left": len(left),
    }


def as_table(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown table, and in words what it does not hold."""
    lines = [
        "| trials | seconds | driver MiB | workers MiB | processes | run KiB | Ray's state KiB |",
        "|---:|---:|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {look['trials']} | {look['seconds']} | {look['driver_mib']} |"
        f" {', '.join(map(str, look['workers_mib']))} | {look['processes']} | {look['run_kib']} |"
        f" {look['ray_kib']} |"
        for look in figures["looks"]
    ]
    lines.append(
        f"disk: peak {figures['peak_mib']} MiB, at the end {figures['end_mib']} MiB; the dry run"
        f" said at most {figures['promised_mib']} MiB. {figures['seconds_a_trial']} s a trial;"
        f" {figures['processes_left']} processes left"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(SoakError,)))
