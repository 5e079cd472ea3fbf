"""How a search ends other than well."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from results.run import Run
from results.status_text import resume_command
from results.trial_states import Status

_AGAINST: dict[str, str] = {
    Status.DIVERGED: "try lower learning rates",
    Status.COLLAPSED: "try lower learning rates or a longer warm-up",
    Status.STOPPED: "give a longer time budget",
}
"""What helps where no trial has a score, by how they ended; those that failed have their error."""


def describe_endings(statuses: Iterable[str]) -> str:
    """How many trials ended in each way, and what helps against it."""
    return ", ".join(
        f"{count} {status}" + (f": {_AGAINST[status]}" if status in _AGAINST else "")
        for status, count in Counter(statuses).items()
    )


class SearchAbortedError(Exception):
    """The trials fail alike, or none has a score; the message is one line for the user."""


class SearchInterruptedError(Exception):
    """A signal ended the search; the run goes on by `resume_command`."""

    def __init__(self, directory: Path, exit_code: int) -> None:
        """Take the run's directory and the exit code of the signal that came."""
        super().__init__("Interrupted; what is known is on disk.")
        self.exit_code = exit_code
        self.resume_command = resume_command(Run(directory))
