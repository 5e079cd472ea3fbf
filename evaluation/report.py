"""`python -m evaluation.report`: write `report.html` of a run again, with or without texts."""

from training.cli import ExitCode, OptionParser, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

from collections.abc import Sequence
from pathlib import Path

from results.errors import RunError
from results.files import write_text
from results.report.page import build_report
from results.run import open_run


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = OptionParser(
        prog="python -m evaluation.report",
        description="Write report.html of a run again, from the files of the run. Nothing is"
        " trained or evaluated.",
    )
    parser.add_argument("--run", required=True, metavar="DIR", help="directory of the run")
    parser.add_argument(
        "--without-texts",
        action="store_true",
        help="leave the texts of rows out, so that the report may be shared",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="the file to write [report.html of the run]"
    )
    options = parser.parse(arguments)
    run = open_run(Path(options.run))
    text = build_report(run, run.read_whole_record(), with_texts=not options.without_texts)
    path = Path(options.output) if options.output else run.report
    write_text(path, text)
    print(f"Next: open {path} in a browser")
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,)))
