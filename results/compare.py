"""`python -m results.compare`: runs side by side, as a table and as a picture."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.comparison import cautions, facts
from results.comparison_plot import plot_comparison
from results.errors import RunError, StorageError
from results.fetching import fetch_run
from results.load import LoadedRun, load_runs
from results.log import printable
from results.places import is_uri

DONE, ENVIRONMENT_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_PROGRAM = "python -m results.compare"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code.

    Raises:
        RunError: an option is wrong, or a run cannot be read.
        StorageError: a storage cannot be reached.
        OSError: the picture cannot be written.
    """
    options = _parser().parse_args(list(arguments))
    with tempfile.TemporaryDirectory() as scratch:
        places = [_local(place, Path(scratch) / str(n)) for n, place in enumerate(options.runs)]
        runs = load_runs(*places).runs
    Console(markup=False, highlight=False, emoji=False).print(_table(runs))
    for caution in cautions(runs):
        print(printable(caution))
    if options.output:
        plot_comparison(Path(options.output), runs)
        print(f"Next: open {shlex.quote(options.output)}")
    else:
        given = shlex.join(map(str, options.runs))
        print(f"Next: {_PROGRAM} {given} --output comparison.png")
    return DONE


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise RunError(f"{message}; see {_PROGRAM} -h")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=_PROGRAM,
        description="Set runs side by side: winners, scores, costs, and what keeps them from being"
        " compared.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="directory of a run, or the URI it is mirrored to"
    )
    parser.add_argument(
        "--output",
        metavar="FILE.png",
        help="draw the best score so far against the rows trained, and the final scores",
    )
    return parser


def _local(place: str, scratch: Path) -> Path:
    return fetch_run(place, scratch).directory if is_uri(place) else Path(place)


def _table(runs: Sequence[LoadedRun]) -> Table:
    """A column a run; all texts go in as they stand."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    columns = [facts(run) for run in runs]
    table.add_column("", style="dim", no_wrap=True)
    for run in runs:
        table.add_column(Text(printable(run.directory.name)), justify="right")
    for name in _row_names(columns):
        table.add_row(Text(printable(name)), *(Text(column.get(name, "")) for column in columns))
    return table


def _row_names(columns: Iterable[dict[str, str]]) -> list[str]:
    """The names of all columns, each in front of the one that follows it in its own column."""
    names: list[str] = []
    for column in columns:
        place = len(names)
        for name in reversed(column):
            if name in names:
                place = names.index(name)
            else:
                names.insert(place, name)
    return names


def _run() -> int:
    try:
        return main(sys.argv[1:])
    except RunError as error:
        return _say(str(error), BAD_INPUT)
    except (StorageError, OSError) as error:
        return _say(str(error), ENVIRONMENT_FAILED)
    except KeyboardInterrupt:
        return _say("interrupted; the same command starts again", INTERRUPTED)


def _say(line: str, code: int) -> int:
    print(f"error: {printable(line)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(_run())
