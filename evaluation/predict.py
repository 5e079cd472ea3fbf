"""`python -m evaluation.predict`: classify the rows of a table with a trained model."""

import itertools
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.classifier import Classifier, load
from evaluation.rows import (
    InputRow,
    RowWriter,
    format_of,
    format_that_begins,
    open_input,
    open_output,
    read_rows,
)
from results.log import quiet_libraries
from training.command import DONE, run_command
from training.errors import InputError
from training.options import OptionParser, nearest

_ROWS_AT_ONCE = 1024
_OWN_COLUMNS = ("label", "error")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse(arguments)
    quiet_libraries()
    classifier = load(Path(options.model))
    column = options.text_column or classifier.text_column
    if options.input != "-" and options.output != "-":
        _refuse_same_file(options.input, options.output)
    started, count = time.monotonic(), 0
    with open_input(options.input) as source:
        kind = format_of(options.input, format_that_begins(source))
        rows = read_rows(source, kind)
        chunks = iter(lambda: list(itertools.islice(rows, _ROWS_AT_ONCE)), [])
        first = next(chunks, [])
        _check_column(first, column)
        with open_output(options.output) as target:
            writer = RowWriter(target, format_of(options.output, kind))
            for chunk in itertools.chain([first], chunks):
                writer.write(list(answer_rows(classifier, chunk, column)))
                count += len(chunk)
    seconds = time.monotonic() - started
    print(f"{count:,} rows, {count / max(seconds, 1e-9):,.0f} rows/s", file=sys.stderr)
    return DONE


def answer_rows(
    classifier: Classifier, rows: Sequence[InputRow], column: str
) -> Iterator[Mapping[str, Any]]:
    """Each row with its own columns, `label`, `p_<class>` and `error`; none is left out.

    A column of the input that has one of these names comes out as `input_<name>`, with as many
    `input_` before it as make it unlike all others.
    """
    names = classifier.names
    errors = [row.error or _why_unusable(row.cells.get(column)) for row in rows]
    usable = [n for n, error in enumerate(errors) if not error]
    texts = [str(rows[n].cells[column]) for n in usable]
    found = dict(zip(usable, classifier.probabilities(texts), strict=True)) if usable else {}
    new = {*_OWN_COLUMNS, *(f"p_{name}" for name in names)}
    for number, row in enumerate(rows):
        own = {_free_name(key, new, row.cells): value for key, value in row.cells.items()}
        p = found.get(number)
        label = "" if p is None else names[int(p.argmax())]
        shares = {f"p_{name}": "" if p is None else float(p[n]) for n, name in enumerate(names)}
        yield {**own, "label": label, **shares, "error": errors[number]}


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="python -m evaluation.predict",
        description="Classify each row of a CSV or JSON Lines file; every row comes out.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="a final/model directory")
    parser.add_argument("--input", required=True, metavar="FILE|-", help="CSV or JSON Lines")
    parser.add_argument(
        "--output", required=True, metavar="FILE|-", help="the same rows with label and p_<class>"
    )
    parser.add_argument(
        "--text-column", metavar="NAME", help="column of the text; default: that of the training"
    )
    return parser


def _check_column(rows: Sequence[InputRow], column: str) -> None:
    readable = [row.cells for row in rows if row.cells and not row.error]
    if readable and all(column not in cells for cells in readable):
        known = list(dict.fromkeys(key for cells in readable for key in cells))
        raise InputError(
            f"--input: no column is named {column!r}; {nearest(column, known)}; give it by"
            " --text-column"
        )


def _refuse_same_file(source: str, target: str) -> None:
    if Path(target).exists() and Path(source).exists() and Path(source).samefile(target):
        raise InputError(
            f"--output is {target!r}, the file that is read, but must be another; choose a new name"
        )


def _free_name(name: str, new: Collection[str], own: Collection[str]) -> str:
    free = name
    while free in new or (free != name and free in own):
        free = f"input_{free}"
    return free


def _why_unusable(text: object) -> str:
    if isinstance(text, dict | list | bool):
        return f"the text must be text, not {type(text).__name__}"
    if text is None or not str(text).strip():
        return "no text"
    return ""


if __name__ == "__main__":
    raise SystemExit(run_command(main, environment=(torch.OutOfMemoryError,)))
