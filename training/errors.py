"""The exceptions of this package: bad input, a failed checkpoint, a stop, a failed export."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad options, configuration or data; a command prints each problem and exits with code 2.

    Each problem is one line: what is wrong, where, the value received, the rule, the next step.
    """

    def __init__(self, *problems: str) -> None:
        # Names of files, columns and keys come from the user and may hold line breaks.
        self.problems: Sequence[str] = tuple(" ".join(line.splitlines()) for line in problems)
        super().__init__("\n".join(self.problems))


class CheckpointError(OSError):
    """A checkpoint cannot be written; the message is one line for the user."""


class TrainingStoppedError(Exception):
    """A training stopped because the caller asked it to; it can be resumed from its checkpoint."""


class OnnxExportError(RuntimeError):
    """The model cannot be exported to ONNX; the message is one line that gives the reason."""
