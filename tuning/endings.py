"""How a search ends other than well."""

from pathlib import Path

from results.next_step import resume_command
from results.run import Run


class SearchAbortedError(Exception):
    """The trials fail alike, or none has a score; the message is one line for the user."""


class SearchInterruptedError(Exception):
    """A signal ended the search; the run goes on by `resume_command`."""

    def __init__(self, directory: Path, exit_code: int) -> None:
        """Take the run's directory and the exit code of the signal that came."""
        super().__init__("Interrupted; what is known is on disk.")
        self.exit_code = exit_code
        self.resume_command = resume_command(Run(directory))
