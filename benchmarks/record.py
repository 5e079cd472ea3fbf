"""`python -m benchmarks.record`: record curves of real trainings, the ground truth of replays.

Every configuration is trained on every replicate to the full budget, with the product's own
`finetune`, seeds and splits. The table has a row an evaluation (`benchmarks.recorded`); a file
beside it, which ends with .options.json, holds the options. Configuration 0 is the default as
written, the others are sampled from the configured space. On CPU the same options give the same
table. A command that was killed continues after the last whole training when it is repeated.
"""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import argparse
import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.processes import ProcessError, map_in_order
from benchmarks.recording import Options, prepare_grid, record_training
from results.files import write_json, write_text
from training.cli import shorten
from training.config import SAMPLE
from training.errors import InputError

Rows = list[dict[str, Any]]


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    given = _parser().parse(arguments)
    output, workers = Path(given.output), given.workers
    options = Options(
        **{name: value for name, value in vars(given).items() if name not in ("output", "workers")}
    )
    kept = find_recorded(output, options)
    done = max(len(kept) - 1, 0) // options.rows_each
    left = options.trainings[done:]
    started = time.monotonic()
    if left:
        grid = prepare_grid(options)
        _start_file(output, options, kept)
        with output.open("a", encoding="utf-8", newline="") as file:
            for rows in map_in_order(partial(record_training, grid), left, workers=workers):
                file.write(as_lines(rows))
                file.flush()
                print(_line(rows, time.monotonic() - started), flush=True)
    seconds = time.monotonic() - started
    print(f"{len(left)} of {len(options.trainings)} trainings in {seconds:.0f} s: {output}")
    return ExitCode.DONE


def _parser() -> OptionParser:
    parser = OptionParser(prog="python -m benchmarks.record", description=__doc__)

    def number(option: str, default: int | None, explanation: str, *, least: int = 1) -> None:
        parser.add_argument(
            option, type=_whole_number(least), default=default, metavar="N", help=explanation
        )

    parser.add_argument("--data", default=SAMPLE, metavar="FILE", help="rows with columns as ours")
    parser.add_argument("--output", required=True, metavar="FILE", help="the CSV to record")
    number("--configurations", 40, "the default among them (%(default)s)")
    number("--replicates", 12, "of each configuration (%(default)s)")
    number("--evaluations-per-epoch", 2, "of each training (%(default)s)")
    number("--space-seed", 7, "seed of the sampled configurations (%(default)s)", least=0)
    number("--max-rows", None, "most rows of the table, chosen at random (all)")
    number("--rows-seed", 11, "seed of this choice (%(default)s)", least=0)
    number("--workers", 1, "processes, with one thread each (%(default)s)")
    return parser


def _whole_number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"is {shorten(text)}, but must be a whole number of at least {least}"
            )
        return int(text)

    return parse


def find_recorded(output: Path, options: Options) -> list[str]:
    """Return the lines of the output as far as they are whole trainings, the header first.

    Raises:
        InputError: the output was made with other options, or by something else.
    """
    if output.suffix != ".csv":
        raise InputError(f"--output is {str(output)!r}, but must end with .csv; rename it")
    record = options.as_record()
    if not output.exists():
        return []
    _check_same(output, _read_record(output), record)
    lines = output.read_text("utf-8").splitlines(keepends=True)
    num_whole = sum(line.endswith("\n") for line in lines)  # a killed process leaves part of one
    kept = lines[: num_whole - (num_whole - 1) % options.rows_each]
    starts = [f"{c},{k}," for c, k in options.trainings for _ in range(options.rows_each)]
    expected = [_header(options), *starts]
    if len(kept) > len(expected) or not all(map(str.startswith, kept, expected)):
        raise InputError(
            f"--output is {output}, but its lines are not those of its options; give another"
            " --output"
        )
    return kept


def _header(options: Options) -> str:
    return ",".join(options.columns) + "\n"


def _options_file(output: Path) -> Path:
    return output.with_suffix(".options.json")


def _start_file(output: Path, options: Options, kept: Sequence[str]) -> None:
    write_json(_options_file(output), options.as_record())
    write_text(output, "".join(kept) or _header(options))


def _read_record(output: Path) -> Mapping[str, Any]:
    beside = _options_file(output)
    try:
        found = json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"--output is {output}, which exists, but {beside} does not hold its options; give"
            " another --output"
        )
    return found


def _check_same(output: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            raise InputError(
                f"--output is {output}, which was recorded with {name} {shorten(found.get(name))},"
                f" but it is {shorten(value)} now; repeat the first command, or give another"
                " --output"
            )


def as_lines(rows: Rows) -> str:
    """Return the lines of one training."""
    text = io.StringIO()
    csv.DictWriter(text, list(rows[0]), lineterminator="\n").writerows(rows)
    return text.getvalue()


def _line(rows: Rows, seconds: float) -> str:
    last = rows[-1]
    return (
        f"{seconds:.0f} s: replicate {last['replicate']}, configuration {last['configuration']}:"
        f" macro-F1 {last['f1_macro']}"
    )


if __name__ == "__main__":
    raise SystemExit(
        run_command(
            main,
            environment=(ProcessError,),
            after_interrupt="the same command continues after the last whole training",
        )
    )
