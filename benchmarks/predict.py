"""`python -m benchmarks.predict`: rows a second and peak memory of `evaluation.predict`.

Each run is the real command in a process of its own. Its rows are those of the bundled sample,
repeated; each text gets a number, so that no two are equal. Only light modules are imported here:
a child process is charged with the memory of the parent that starts it.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import csv
import io
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.figures import describe_machine, whole_numbers, write_figures
from evaluation.streams import open_output
from training.errors import InputError

_BACKENDS = ("torch", "onnx")
_LIBRARIES = ("torch", "transformers", "tokenizers", "onnxruntime", "numpy")
_SEED = 42
# The last line of `evaluation.predict`; a library may print something after it.
_RATE = re.compile(r"[\d,]+ rows, [\d,]+ with an error, ([\d,]+) rows/s")


class MeasuredCommandError(RuntimeError):
    """The measured command failed, and not because of the user's options."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(prog="python -m benchmarks.predict", description=__doc__)
    parser.add_argument("--model", required=True, metavar="DIR", help="a final/model directory")
    parser.add_argument("--rows", default="10000,1000000", metavar="N,...", help="rows of each run")
    parser.add_argument("--backend", default=",".join(_BACKENDS), metavar="NAME,...")
    parser.add_argument(
        "--output",
        default="results/runs/benchmark-predict.json",
        metavar="FILE",
        help="where the figures are written as JSON",
    )
    options = parser.parse(arguments)
    sizes, backends = whole_numbers(options.rows, option="--rows"), _backends(options.backend)
    with suppress(OSError):  # the error is reported where the file is opened
        Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    with open_output(options.output) as file:
        figures = _measure_all(Path(options.model), sizes, backends)
        write_figures(file, {"machine": _machine(), "runs": figures})
    print(as_table(figures))
    return ExitCode.DONE


def _measure_all(
    model: Path, sizes: Sequence[int], backends: Sequence[str]
) -> list[dict[str, Any]]:
    figures = []
    with tempfile.TemporaryDirectory() as directory:
        for num_rows in sizes:
            source = Path(directory) / f"{num_rows}.csv"
            write_rows(source, num_rows)
            for backend in backends:
                figures.append(measure(model, source, num_rows, backend))
                print(_line(figures[-1]), flush=True)
            source.unlink()
    return figures


def write_rows(path: Path, num_rows: int) -> None:
    """Write a CSV of `num_rows` rows of the bundled sample; all texts differ.

    The words of each text are rotated and the row's number is appended, so that a cache of texts
    would be visible as growing memory.
    """
    sample = files("training.sample").joinpath("sample.csv").read_text("utf-8")
    texts = [row["text"] for row in csv.DictReader(io.StringIO(sample)) if row["text"].strip()]
    shuffler = random.Random(_SEED)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text"])
        for number, text in enumerate(itertools.islice(itertools.cycle(texts), num_rows)):
            words = text.split()
            first = shuffler.randrange(len(words))
            writer.writerow([number, " ".join([*words[first:], *words[:first], str(number)])])


def measure(model: Path, source: Path, num_rows: int, backend: str) -> dict[str, Any]:
    """Run the command on a file.

    Returns:
        `rows`, `backend`, `seconds` (start-up included), `rows_per_second` (the command's own
        count: without start-up), `peak_mib` (most memory in use), `output_rows`.

    Raises:
        InputError: the command refused its input.
        MeasuredCommandError: it failed otherwise.
    """
    target = source.with_suffix(".out.csv")
    command = [sys.executable, "-m", "evaluation.predict", "--backend", backend]
    command += ["--model", str(model), "--input", str(source), "--output", str(target)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(command, stderr=messages)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        messages.seek(0)
        output = messages.read()
    if process.returncode != ExitCode.DONE:
        raise failure_of(process.returncode, output)
    with target.open(encoding="utf-8", newline="") as file:
        output_rows = sum(1 for _ in csv.reader(file)) - 1
    target.unlink()
    return {
        "rows": num_rows,
        "backend": backend,
        "seconds": round(seconds, 1),
        "rows_per_second": rate_in(output),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "output_rows": output_rows,
    }


def rate_in(output: str) -> int:
    """Return the rows a second that `evaluation.predict` reports on stderr.

    Raises:
        MeasuredCommandError: the output does not hold them.
    """
    rates = _RATE.findall(output)
    if not rates:
        raise MeasuredCommandError(
            f"evaluation.predict printed {output[-200:]!r}, but must end with its rows/s; run it"
            " alone"
        )
    return int(rates[-1].replace(",", ""))


def failure_of(code: int, output: str) -> Exception:
    """Return the error for an exit code of `evaluation.predict`, with all lines it printed."""
    lines = [line.removeprefix("error: ") for line in output.splitlines()]
    if code == ExitCode.BAD_INPUT:
        return InputError(*lines)
    return MeasuredCommandError("\n".join([f"evaluation.predict ended with {code}:", *lines]))


def as_table(figures: Iterable[Mapping[str, Any]]) -> str:
    """Format the figures as a Markdown table."""
    lines = ["| rows | backend | rows/s | seconds | peak MiB |", "|---:|---|---:|---:|---:|"]
    lines += [
        f"| {run['rows']:,} | {run['backend']} | {run['rows_per_second']:,} | {run['seconds']:,} |"
        f" {run['peak_mib']:,} |"
        for run in figures
    ]
    return "\n".join(lines)


def _line(run: Mapping[str, Any]) -> str:
    return (
        f"{run['rows']:,} rows, {run['backend']}: {run['rows_per_second']:,} rows/s,"
        f" {run['peak_mib']:,} MiB"
    )


def _backends(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in _BACKENDS]
    if unknown:
        raise InputError(f"--backend has {unknown[0]!r}, but must be of {', '.join(_BACKENDS)}")
    return names


def _machine() -> dict[str, Any]:
    return {
        **describe_machine(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "packages": {name: version(name) for name in _LIBRARIES},
    }


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(MeasuredCommandError,)))
