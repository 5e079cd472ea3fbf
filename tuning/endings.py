"""How a search ends other than well."""

import shlex
from pathlib import Path


class SearchAbortedError(Exception):
    """The trials fail alike, or none has a score; the message is one line for the user."""


class SearchInterruptedError(Exception):
    """A signal ended the search; the run goes on by `resume_command`."""

    def __init__(self, directory: Path, exit_code: int) -> None:
        """Take the run's directory and the exit code of the signal that came."""
        super().__init__("Interrupted; what is known is on disk.")
        self.exit_code = exit_code
        place = ["--name", directory.name, "--output.directory", str(directory.parent)]
        self.resume_command = shlex.join(["python", "-m", "tuning.search", "--resume", *place])
