"""How trainings end other than well, for callers that tell the ways apart."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad options, configuration or data: told in one line a problem, exit code 2.

    Each line says what is wrong, where, the value received, the rule and the next step.
    """

    def __init__(self, *problems: str) -> None:
        # Names of files, columns and keys are the user's and may hold line breaks.
        self.problems: Sequence[str] = tuple(" ".join(line.splitlines()) for line in problems)
        super().__init__("\n".join(self.problems))


class CheckpointError(OSError):
    """A checkpoint cannot be written; the message is one line for the user."""


class TrainingStoppedError(Exception):
    """A training was asked to stop and did; with a checkpoint it can go on from there."""
