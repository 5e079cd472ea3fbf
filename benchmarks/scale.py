"""`python -m benchmarks.scale`: overhead of a search without training, by number of trials.

Search, Ray and files are real, with 8 concurrent trials; only the trials are fakes, which report
scores and compute nothing (`benchmarks.reporting`).
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from benchmarks.monitor import seconds_a_trial, take_snapshots
from evaluation.streams import open_output

_AT_ONCE = 8


class ScaleError(RuntimeError):
    """The monitored search failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--at",
        default="200,500,1000,2000",
        metavar="N,...",
        help="numbers of trials at which to measure; the last is the end",
    )
    parser.add_argument(
        "--output",
        default="benchmarks/scale.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    options = parser.parse(arguments)
    marks = sorted(whole_numbers(options.at, option="--at"))
    with open_output(options.output) as file, tempfile.TemporaryDirectory() as directory:
        figures = {"machine": describe_machine(), **grow(marks, Path(directory))}
        write_figures(file, figures)
    print(as_table(figures))
    return ExitCode.DONE


def grow(marks: Sequence[int], directory: Path) -> dict[str, Any]:
    """Run a search of fake trials and measure it.

    Args:
        marks: numbers of ended trials at which to measure, ascending; the last is the number of
            trials.
        directory: for the run.

    Returns:
        A `benchmarks.monitor.Snapshot` for each mark, and `seconds_a_trial` from the first mark to
        the last.

    Raises:
        ScaleError: the search failed.
    """
    command = [sys.executable, "-m", "benchmarks.reporting", "--trials", str(marks[-1])]
    command += ["--search.max_concurrent", str(_AT_ONCE), "--search.confirm_replicates", "0"]
    command += ["--cluster.cpus_per_trial", str((os.cpu_count() or 1) / _AT_ONCE)]
    command += ["--output.directory", str(directory), "--name", "scale"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        driver = psutil.Process(process.pid)
        snapshots, _, _ = take_snapshots(driver, directory / "scale", marks)
        if code := process.wait():
            output.seek(0)
            raise ScaleError(f"the search ended with {code}: {output.read()[-300:]}")
    return {
        "looks": [asdict(snapshot) for snapshot in snapshots],
        "seconds_a_trial": seconds_a_trial(snapshots),
    }


def as_table(figures: Mapping[str, Any]) -> str:
    """Format the figures as a Markdown table."""
    lines = [
        "| trials | seconds since the start | s a trial since the line before | driver MiB |"
        " run KiB | KiB a trial |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    snapshots = figures["looks"]
    paces = [None, *(_pace(before, later) for before, later in pairwise(snapshots))]
    lines += [
        f"| {one['trials']:,} | {one['seconds']} | {'' if each is None else f'{each:.3f}'} |"
        f" {one['driver_mib']:.0f} | {one['run_kib']:,.0f} |"
        f" {one['run_kib'] / one['trials']:.1f} |"
        for one, each in zip(snapshots, paces, strict=True)
    ]
    return "\n".join(lines)


def _pace(before: Mapping[str, Any], later: Mapping[str, Any]) -> float:
    seconds: float = later["seconds"] - before["seconds"]
    trials: int = later["trials"] - before["trials"]
    return seconds / trials


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ScaleError,)))
