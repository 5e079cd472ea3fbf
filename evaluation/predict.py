"""`python -m evaluation.predict`: classify the rows of a table with a trained model."""

from training.command import DONE, interrupts_end_at_once, run_command

if __name__ == "__main__":
    interrupts_end_at_once()  # while the libraries below are loaded

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import torch

from evaluation.answered_rows import ModelBrokenError, answer_rows, answered_columns
from evaluation.classifier import Backend, Classifier, load
from evaluation.progress import Progress
from evaluation.row_writer import RowWriter
from evaluation.rows import InputRow, InputTable, format_of, format_that_begins, read_table
from evaluation.streams import open_input, open_output, part_of
from results.log import quiet_libraries
from training.errors import InputError
from training.options import OptionParser, nearest

# What is held at once: enough rows for batches of like length, and no more text than this.
_ROWS_AT_ONCE = 1024
_CHARACTERS_AT_ONCE = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    quiet_libraries()
    classifier = load(Path(options.model), options.backend)
    if options.input != "-" and options.output != "-":
        _refuse_same_file(options.input, options.output)
    progress = Progress(sys.stderr)
    try:
        _answer(classifier, options, progress)
    except BaseException:
        if progress.num_rows and options.output != "-" and part_of(options.output).exists():
            print(f"{progress.num_rows:,} rows are in {part_of(options.output)}", file=sys.stderr)
        raise
    progress.finish()
    if options.output != "-":
        print(f"Next: read {options.output}; `error` says why a row has no label", file=sys.stderr)
    return DONE


def chunks(rows: Iterator[InputRow]) -> Iterator[list[InputRow]]:
    """Rows in lists that are short enough to be held, however long their texts are."""
    chunk: list[InputRow] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += sum(len(value) for value in row.cells.values() if isinstance(value, str))
        if len(chunk) >= _ROWS_AT_ONCE or size >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _answer(classifier: Classifier, options: argparse.Namespace, progress: Progress) -> None:
    """Read, classify and write, a chunk at a time."""
    column = options.text_column or classifier.text_column
    with open_input(options.input) as source:
        begun, lines = format_that_begins(source)
        kind = format_of(options.input) or begun
        table = read_table(lines, kind)
        parts = chunks(table.rows)
        part = next(parts, [])
        _check_column(table, part, column)
        with open_output(options.output) as target:
            cells = [table.columns] if table.columns else [list(row.cells) for row in part]
            columns = answered_columns(classifier.names, cells)
            writer = RowWriter(target, format_of(options.output) or kind, columns)
            while part:
                num_errors = writer.write(list(answer_rows(classifier, part, column)))
                progress.add(len(part), num_errors)
                part = next(parts, [])


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.predict",
        description="Classify each row of a CSV or JSON Lines file; every row comes out.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="a final/model directory")
    parser.add_argument("--input", required=True, metavar="FILE|-", help="CSV or JSON Lines")
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE|-",
        help="the same rows with label and p_<class>; it is FILE.part until all are there",
    )
    parser.add_argument(
        "--text-column", metavar="NAME", help="column of the text; default: that of the training"
    )
    parser.add_argument(
        "--backend",
        choices=get_args(Backend),
        default="torch",
        help="torch reads model.safetensors and uses a GPU if there is one, onnx reads model.onnx"
        " and runs on the CPU; default: torch",
    )
    return parser


def _check_column(table: InputTable, rows: Sequence[InputRow], column: str) -> None:
    readable = [row.cells for row in rows if row.cells and not row.error]
    known = table.columns or list(dict.fromkeys(key for cells in readable for key in cells))
    if known and column not in known:
        raise InputError(
            f"--input: no column is named {column!r}; {nearest(column, known)}; give it by"
            " --text-column"
        )


def _refuse_same_file(source: str, target: str) -> None:
    try:
        outputs = [path for path in (Path(target), part_of(target)) if path.is_file()]
        is_same = any(Path(source).samefile(path) for path in outputs)
    except OSError:
        return  # told where the name is opened
    if is_same:
        raise InputError(
            f"--output is {target!r}, which overwrites the file that is read, but must be"
            " another; choose a new name"
        )


if __name__ == "__main__":
    environment = (torch.OutOfMemoryError, ModelBrokenError)
    raise SystemExit(run_command(main, environment=environment))
