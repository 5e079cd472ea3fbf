"""The command `python -m tuning.search`: search, confirm the winner, write the run's files."""

from training.cli import ExitCode, end_process, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.addresses import ClusterError
from results.errors import RunError, StorageError
from results.status_text import next_step
from training.options import to_yaml
from tuning.config import Configuration
from tuning.errors import SearchAbortedError, SearchInterruptedError
from tuning.start import command_line, read_command, to_plain

# Modules that load torch and Ray are imported in the functions that use them, so that -h and
# mistyped options are answered at once.


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options, resume, configuration = read_command(arguments)
    if options.print_config:
        print(to_yaml(to_plain(configuration)), end="")
        return ExitCode.DONE
    from results.log import log_to_terminal, quiet_libraries

    log_to_terminal()
    quiet_libraries()
    if options.dry_run:
        return _dry_run(configuration, arguments)
    from tuning.log_lines import TerminalView
    from tuning.run_search import run_search

    label = Path(options.config).stem if options.config else "search"
    try:
        run = run_search(
            configuration,
            resume=resume,
            command=command_line(arguments),
            label=label,
            watchers=lambda found: [TerminalView(found)],
        )
    except SearchAbortedError as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.SEARCH_ABORTED
    except SearchInterruptedError as interrupted:
        print(f"{interrupted} Next: {interrupted.resume_command}")
        return interrupted.exit_code
    print(f"Next: {next_step(run, run.read_record(), is_alive=False)}")
    return ExitCode.DONE


def _dry_run(configuration: Configuration, arguments: Sequence[str]) -> int:
    from training.shipping import check_shipping
    from tuning.capacity import check_storage, num_slots_here
    from tuning.dry_run import describe_plan, rehearse
    from tuning.node_checks import try_cluster
    from tuning.preparation import prepare_search
    from tuning.run_checks import check_new
    from tuning.shipping_check import shipment_of

    num_slots_here(configuration)
    check_storage(configuration)
    check_new(configuration)
    output = Path(configuration.output.directory).absolute()
    directory = next(path for path in (output, *output.parents) if path.is_dir())
    with tempfile.TemporaryDirectory() as scratch:
        preparation = prepare_search(configuration, tokenizer_directory=Path(scratch) / "tokenizer")
        rehearsal = rehearse(configuration, preparation)
        cluster = try_cluster(configuration, preparation)
        started = time.monotonic()
        warning = check_shipping(shipment_of(configuration, preparation), directory)
        seconds = time.monotonic() - started
    for line in describe_plan(configuration, preparation, rehearsal, cluster):
        print(line)
    print(
        f"checks      the model was checked in {preparation.seconds_of_checks:.1f} s; a small copy"
        f" of it was saved, loaded and run in {seconds:.1f} s"
    )
    if warning:
        print(f"            {warning}")
    command = command_line([word for word in arguments if word != "--dry-run"])
    print(f"Nothing was started. Next: {command}")
    return ExitCode.DONE


if __name__ == "__main__":
    end_process(run_command(main, bad_input=(RunError,), environment=(ClusterError, StorageError)))
