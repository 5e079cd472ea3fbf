"""`python -m tuning.search`: search hyperparameters, confirm the winner, write the run."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster.session import ClusterError
from results.errors import RunError
from training.command import DONE, SEARCH_ABORTED, run_command
from training.options import to_yaml
from tuning.config import Configuration
from tuning.dry_run import check_storage, describe_plan, rehearse
from results.log import log_to_terminal, quiet_libraries
from tuning.phases import SearchAborted, SearchInterrupted
from tuning.run_search import prepare_only, run_search
from tuning.start import command_line, find_run, make_parser, resolve, resolve_resumed, to_plain


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = make_parser().parse(arguments)
    log_to_terminal()
    quiet_libraries()
    resume = find_run(options) if options.resume else None
    configuration = resolve_resumed(resume, options) if resume else resolve(options)
    if options.print_config:
        print(to_yaml(to_plain(configuration)), end="")
        return DONE
    if options.dry_run:
        return _dry_run(configuration)
    label = Path(options.config).stem if options.config else "search"
    try:
        recorder = run_search(
            configuration, resume=resume, command=command_line(arguments), label=label
        )
    except SearchAborted as error:
        print(f"error: {error}", file=sys.stderr)
        return SEARCH_ABORTED
    except SearchInterrupted as interrupted:
        print(f"Interrupted; what is known is on disk. Next: {interrupted.resume_command}")
        return interrupted.exit_code
    print(f"Next: python -m evaluation.final --run {recorder.run.directory}")
    return DONE


def _dry_run(configuration: Configuration) -> int:
    check_storage(configuration)
    with tempfile.TemporaryDirectory() as scratch:
        preparation = prepare_only(configuration, Path(scratch) / "tokenizer")
        rehearsal = rehearse(configuration, preparation)
    for line in describe_plan(configuration, preparation, rehearsal):
        print(line)
    print("Nothing was started. Next: the same command without --dry-run")
    return DONE


if __name__ == "__main__":
    raise SystemExit(run_command(main, bad_input=(RunError,), environment=(ClusterError,)))
