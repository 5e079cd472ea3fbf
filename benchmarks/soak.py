"""`python -m benchmarks.soak`: memory, disk and processes of a search of many short trials.

The real command runs in a process of its own, on the bundled sample. Each trial is one epoch, so
that memory or disk that grows with the number of trials becomes visible.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.monitor import MIB, seconds_a_trial, size, take_snapshots
from evaluation.streams import open_output

_SEARCH = (
    *("--search.scheduler", "none", "--search.confirm_replicates", "0"),
    *("--training.epochs", "1", "--search.evaluations_per_epoch", "2"),
    *("--training.batch_size", "64", "--training.warmup_steps", "0.1"),
    *("--search.space", "{learning_rate: {log_uniform: [1e-3, 4e-3]}}"),
)
_PROMISE = re.compile(r"at most ([\d,]+) MiB at the peak")


class SoakError(RuntimeError):
    """The monitored search failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--at",
        default="50,150,300",
        metavar="N,...",
        help="numbers of trials at which to measure; the last is the end",
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
        write_figures(file, {"machine": describe_machine(), **figures})
    print(as_table(figures))
    return ExitCode.DONE


def soak(marks: Sequence[int], directory: Path) -> dict[str, Any]:
    """Run a search and measure it.

    Args:
        marks: numbers of ended trials at which to measure, ascending; the last is the number of
            trials.
        directory: for the run.

    Returns:
        A `benchmarks.monitor.Snapshot` for each mark, `promised_mib` (the dry run's
        estimate), `peak_mib` (most on disk at any time), `end_mib`, `seconds_a_trial`,
        `processes_left`.

    Raises:
        SoakError: the search failed.
    """
    command = [sys.executable, "-m", "tuning.search", *_SEARCH, "--trials", str(marks[-1])]
    command += ["--output.directory", str(directory), "--name", "soak"]
    plan = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    promise = _PROMISE.search(plan.stdout)
    if promise is None:
        raise SoakError(f"the dry run ended with {plan.returncode}: {plan.stderr[-300:]}")
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        tree = psutil.Process(process.pid)
        snapshots, peak, family = take_snapshots(tree, directory / "soak", marks)
        code = process.wait()
        output.seek(0)
        if code != ExitCode.DONE:
            raise SoakError(f"the search ended with {code}: {output.read()[-300:]}")
    _, left = psutil.wait_procs(family, timeout=30)
    return {
        "looks": [asdict(snapshot) for snapshot in snapshots],
        "promised_mib": int(promise[1].replace(",", "")),
        "peak_mib": round(peak / MIB, 1),
        "end_mib": round(size(directory / "soak") / MIB, 1),
        "seconds_a_trial": seconds_a_trial(snapshots),
        "processes_left": len(left),
    }


def as_table(figures: Mapping[str, Any]) -> str:
    """Format the figures as a Markdown table and a line with the other figures."""
    lines = [
        "| trials | seconds | driver MiB | workers MiB | processes | run KiB | Ray's state KiB |",
        "|---:|---:|---:|---|---:|---:|---:|",
    ]
    lines += [
        f"| {one['trials']} | {one['seconds']} | {one['driver_mib']} |"
        f" {', '.join(map(str, one['workers_mib']))} | {one['processes']} | {one['run_kib']} |"
        f" {one['ray_kib']} |"
        for one in figures["looks"]
    ]
    lines.append(
        f"disk: peak {figures['peak_mib']} MiB, at the end {figures['end_mib']} MiB; the dry run"
        f" estimated at most {figures['promised_mib']} MiB. {figures['seconds_a_trial']} s a trial;"
        f" {figures['processes_left']} processes left"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(SoakError,)))
