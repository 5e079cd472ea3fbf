"""`python -m evaluation.predict`: classify the rows of a table with a trained model."""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, nearest, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import get_args

import torch

from evaluation.predicted_rows import ModelBrokenError, make_writer, predict_rows
from evaluation.progress import RowProgress
from evaluation.streams import open_input, open_output, part_of
from results.log import quiet_libraries
from training.classifier import Backend, Classifier, load
from training.csv_rows import SEPARATORS
from training.errors import InputError
from training.table import Table, open_table
from training.table_bytes import format_of

_NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".zip", ".xz", ".7z", ".pdf", ".feather", ".arrow")
"""Endings of formats that cannot be written."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    _refuse_other_formats(options.output)
    quiet_libraries()
    classifier = load(Path(options.model), options.backend)
    if options.input != "-" and options.output != "-":
        _refuse_same_file(options.input, options.output)
    progress = RowProgress(sys.stderr, may_be_live=options.output != "-")
    try:
        _predict_table(classifier, options, progress)
    except BaseException:
        progress.stop()
        is_readable = format_of(options.output) != "parquet"  # its footer is written at the end
        if is_readable and options.output != "-" and _has_rows(progress, options.output):
            print(f"{progress.num_rows:,} rows are in {part_of(options.output)}", file=sys.stderr)
        raise
    progress.finish()
    if options.output != "-":
        print(
            f"Next: read {options.output}; `error` explains why a row has no label", file=sys.stderr
        )
    return ExitCode.DONE


def _has_rows(progress: RowProgress, output: str) -> bool:
    return bool(progress.num_rows) and part_of(output).exists()


def _predict_table(
    classifier: Classifier, options: argparse.Namespace, progress: RowProgress
) -> None:
    """Read, classify and write the table chunk by chunk."""
    column = options.text_column or classifier.text_column
    with (
        open_input(options.input) as source,
        open_table(
            source,
            name=options.input,
            where=f"--input {options.input}",
            wanted=[column],
            separator=options.separator,
            multiline=options.multiline,
        ) as table,
    ):
        if table.separator not in (None, ","):
            print(f"{options.input}: {table.describe()}", file=sys.stderr)
        first = next(table.chunks, None)
        _check_column(table, column)
        kind = format_of(options.output) or table.format
        with open_output(options.output) as target:
            writer = make_writer(
                target, kind, _separator(options.output, table), table, first, classifier.names
            )
            for chunk in itertools.chain([first] if first else [], table.chunks):
                predictions = predict_rows(classifier, chunk.cells(column), chunk.errors)
                num_errors = writer.write(chunk, predictions)
                progress.add(len(chunk.errors), num_errors)
            writer.close()


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.predict",
        description="Classify every row of a table: CSV, JSON Lines or Parquet, also compressed as"
        " .gz, .bz2 or .zst. Every row of the input is written, with its own columns, in the format"
        " of the input unless the name of the output has the ending of another format.",
    )
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="a final/model directory, or a final/baseline"
    )
    parser.add_argument(
        "--input", required=True, metavar="FILE|-", help="the table; - is standard input"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE|-",
        help="the same rows with label, p_<class> and error; the file is named FILE.part until all"
        " rows are written; - is standard output",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        help="column of the text [the one that the model was trained on]",
    )
    parser.add_argument(
        "--separator",
        type=_separator_option,
        metavar="CHARACTER",
        help="separator of a CSV: , ; tab or | [detected from the first lines]",
    )
    parser.add_argument(
        "--multiline",
        action="store_true",
        help="allow quoted cells that contain lines in the form of rows; otherwise each such line"
        " is a row, and the first one has an error",
    )
    parser.add_argument(
        "--backend",
        choices=get_args(Backend),
        default="torch",
        help="torch loads model.safetensors and uses a GPU if there is one; onnx loads model.onnx"
        " and runs on the CPU; a baseline takes neither [torch]",
    )
    return parser


def _check_column(table: Table, column: str) -> None:
    """Raise an error for a table without the text column, or if its type is not text."""
    found = table.column(column, "--text-column")
    if found is None and (table.columns or table.format != "jsonl"):
        raise InputError(
            f"{table.where}: no column is named {column!r}, but one must hold the text;"
            f" {nearest(column, table.columns)}; set --text-column"
        )
    if found is not None and (kind := table.kind_without_text(found)):
        raise InputError(
            f"{table.where}: column {found!r} holds {kind}, but must hold text; write it as text,"
            " or set --text-column to another column"
        )


def _separator(output: str, table: Table) -> str:
    """Return the separator of the output: that of the input, unless the name implies another."""
    if PurePath(output.removesuffix(".gz")).suffix.lower() in (".tsv", ".tab"):
        return "\t"
    if table.separator == "\t" and format_of(output) == "csv":
        return ","
    return table.separator or ","


def _separator_option(text: str) -> str:
    separator = "\t" if text in ("tab", "\\t") else text
    if separator not in SEPARATORS:
        raise argparse.ArgumentTypeError(f"is {text!r}, but must be one of , ; tab |")
    return separator


def _refuse_other_formats(output: str) -> None:
    if PurePath(output).suffix.lower() in _NOT_WRITTEN:
        raise InputError(
            f"--output is {output!r}, but must end in .csv, .tsv, .jsonl or .parquet, each also"
            " with .gz, .bz2 or .zst; choose another name"
        )


def _refuse_same_file(source: str, target: str) -> None:
    try:
        outputs = [path for path in (Path(target), part_of(target)) if path.is_file()]
        is_same = any(Path(source).samefile(path) for path in outputs)
    except OSError:
        return  # reported when the file is opened
    if is_same:
        raise InputError(
            f"--output is {target!r}, which would overwrite the input, but must be another file;"
            " choose another name"
        )


if __name__ == "__main__":
    environment = (torch.OutOfMemoryError, ModelBrokenError)
    raise SystemExit(run_command(main, environment=environment))
