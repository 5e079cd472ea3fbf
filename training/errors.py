"""What a user can cause, as one class."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad options, configuration or data: told in one line a problem, exit code 2.

    Each line says what is wrong, where, the value received, the rule and the next step.
    """

    def __init__(self, *problems: str) -> None:
        # Names of files, columns and keys are the user's and may hold line breaks.
        self.problems: Sequence[str] = tuple(" ".join(line.splitlines()) for line in problems)
        super().__init__("\n".join(self.problems))
