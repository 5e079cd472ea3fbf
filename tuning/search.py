"""The command `python -m tuning.search`: search, confirm the winner, write the run's files."""

from training.cli import ExitCode, end_process, exit_on_interrupt, run_command

if __name__ == "__main__":
    exit_on_interrupt()  # while the libraries below are loaded

import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.addresses import ClusterError
from results.errors import RunError, StorageError
from results.status_text import next_step
from tuning.command_line import command_line, read_command
from tuning.errors import SearchAbortedError, SearchInterruptedError
from tuning.start import to_print

# Modules that load torch and Ray are imported in the functions that use them, so that -h and
# mistyped options are answered at once.


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options, resume, configuration = read_command(arguments)
    if options.print_config:
        print(to_print(configuration), end="")
        return ExitCode.DONE
    from results.log import log_to_terminal, quiet_libraries

    log_to_terminal()
    quiet_libraries()
    if options.dry_run:
        from tuning.dry_run import dry_run

        for line in dry_run(configuration):
            print(line)
        command = command_line([word for word in arguments if word != "--dry-run"])
        print(f"Nothing was started. Next: {command}")
        return ExitCode.DONE
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


if __name__ == "__main__":
    end_process(run_command(main, bad_input=(RunError,), environment=(ClusterError, StorageError)))
