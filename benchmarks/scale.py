"""`python -m benchmarks.scale`: what a search costs beside training, and how that grows.

The real search, Ray and files, 8 trials at once; only the trials are fakes that report scores and
compute nothing (`benchmarks.reporting`).
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import json
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

from benchmarks.looks import pace, watch
from benchmarks.machine import describe_machine
from benchmarks.numbers import whole_numbers
from evaluation.streams import open_output

_AT_ONCE = 8


class ScaleError(RuntimeError):
    """The search that is watched failed."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--at",
        default="200,500,1000,2000",
        metavar="N,...",
        help="trials at which to look; the last ends",
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
        file.write((json.dumps(figures, indent=2) + "\n").encode())
    print(as_table(figures))
    return ExitCode.DONE


def grow(marks: Sequence[int], directory: Path) -> dict[str, Any]:
    """Run a search of as many reporting trials as the last mark says.

    Args:
        marks: numbers of ended trials at which to look, ascending.
        directory: for the run.

    Returns:
        `looks` (a `benchmarks.looks.Look` a mark) and `seconds_a_trial`, from the first to the
        last.

    Raises:
        ScaleError: the search failed.
    """
    command = [sys.executable, "-m", "benchmarks.reporting", "--trials", str(marks[-1])]
    command += ["--search.max_concurrent", str(_AT_ONCE), "--search.confirm_replicates", "0"]
    command += ["--cluster.cpus_per_trial", str((os.cpu_count() or 1) / _AT_ONCE)]
    command += ["--output.directory", str(directory), "--name", "scale"]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        looks, _, _ = watch(psutil.Process(process.pid), directory / "scale", marks)
        if code := process.wait():
            said.seek(0)
            raise ScaleError(f"the search ended with {code}: {said.read()[-300:]}")
    return {"looks": [asdict(look) for look in looks], "seconds_a_trial": pace(looks)}


def as_table(figures: Mapping[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| trials | seconds since the start | s a trial since the line before | driver MiB |"
        " run KiB | KiB a trial |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    looks = figures["looks"]
    paces = [None, *(_pace(before, look) for before, look in pairwise(looks))]
    lines += [
        f"| {look['trials']:,} | {look['seconds']} | {'' if each is None else f'{each:.3f}'} |"
        f" {look['driver_mib']:.0f} | {look['run_kib']:,.0f} |"
        f" {look['run_kib'] / look['trials']:.1f} |"
        for look, each in zip(looks, paces, strict=True)
    ]
    return "\n".join(lines)


def _pace(before: Mapping[str, Any], look: Mapping[str, Any]) -> float:
    seconds: float = look["seconds"] - before["seconds"]
    trials: int = look["trials"] - before["trials"]
    return seconds / trials


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(ScaleError,)))
