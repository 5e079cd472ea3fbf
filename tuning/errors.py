"""The errors of a search: aborted and interrupted; their exit codes are in `training.cli`."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from results.run import Run
from results.status_text import resume_command
from results.trial_states import Status

_ADVICE: dict[str, str] = {
    Status.DIVERGED: "try lower learning rates",
    Status.COLLAPSED: "try lower learning rates or a longer warm-up",
    Status.STOPPED: "give a longer time budget",
}
"""Advice where no trial has a score, by the trials' status; failed trials have their own error."""


def describe_endings(statuses: Iterable[str]) -> str:
    """Count the trials of each status, with advice against it."""
    return ", ".join(
        f"{count} {status}" + (f": {_ADVICE[status]}" if status in _ADVICE else "")
        for status, count in Counter(statuses).items()
    )


class SearchAbortedError(Exception):
    """The trials fail with the same error, or none has a score; the message is one line."""


class SearchInterruptedError(Exception):
    """A signal ended the search; `resume_command` resumes the run."""

    def __init__(self, directory: Path, exit_code: int) -> None:
        """Set the run's directory and the exit code of the signal."""
        super().__init__("Interrupted; all results so far are on disk.")
        self.exit_code = exit_code
        self.resume_command = resume_command(Run(directory))
